package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Grant is one verb on one resource that a ServiceAccount may use.
type Grant struct {
	Account string // name of the ServiceAccount
	// Resource is "pods", "leases.coordination.k8s.io" or
	// "volumeattachments.storage.k8s.io/status", as kubectl writes it.
	Resource string
	Verb     string
	// Namespace is the only one where it holds; "" for all.
	Namespace string
	// Name is that of the only object that it holds for; "" for all.
	Name string
}

func (g Grant) String() string {
	s := fmt.Sprintf("%s may %s %s", g.Account, g.Verb, g.Resource)
	if g.Name != "" {
		s += " " + g.Name
	}
	if g.Namespace != "" {
		s += " in " + g.Namespace
	}
	return s
}

// resource writes a group and a resource as kubectl does.
func resource(group, name, sub string) string {
	if group != "" {
		name += "." + group
	}
	if sub != "" {
		name += "/" + sub
	}
	return name
}

// Grants gives what objects grant to the ServiceAccounts of namespace, each once.
// What it could not compare with a log, and nobody should be granted, is an error:
// a wildcard, a URL that is no resource, a subject that is no ServiceAccount.
func Grants(objects []runtime.Object, namespace string) ([]Grant, error) {
	roles, clusterRoles := map[string][]rbacv1.PolicyRule{}, map[string][]rbacv1.PolicyRule{}
	for _, o := range objects {
		switch o := o.(type) {
		case *rbacv1.Role:
			roles[o.Name] = o.Rules
		case *rbacv1.ClusterRole:
			clusterRoles[o.Name] = o.Rules
		}
	}
	var all []Grant
	bind := func(ref rbacv1.RoleRef, subjects []rbacv1.Subject, in string) error {
		rules, found := clusterRoles[ref.Name]
		if ref.Kind == "Role" {
			rules, found = roles[ref.Name]
		}
		if !found {
			return fmt.Errorf("%s %s is bound and not there", ref.Kind, ref.Name)
		}
		for _, s := range subjects {
			if s.Kind != rbacv1.ServiceAccountKind || s.Namespace != namespace {
				return fmt.Errorf("%s %s is bound to %s %s/%s", ref.Kind, ref.Name, s.Kind, s.Namespace, s.Name)
			}
			grants, err := granted(s.Name, in, rules)
			if err != nil {
				return fmt.Errorf("%s %s: %w", ref.Kind, ref.Name, err)
			}
			all = append(all, grants...)
		}
		return nil
	}
	for _, o := range objects {
		var err error
		switch o := o.(type) {
		case *rbacv1.RoleBinding:
			err = bind(o.RoleRef, o.Subjects, cmp.Or(o.Namespace, namespace))
		case *rbacv1.ClusterRoleBinding:
			err = bind(o.RoleRef, o.Subjects, "")
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, compare)
	return slices.Compact(all), nil
}

func granted(account, in string, rules []rbacv1.PolicyRule) ([]Grant, error) {
	var all []Grant
	for _, r := range rules {
		if len(r.NonResourceURLs) > 0 {
			return nil, fmt.Errorf("it grants the URLs %v", r.NonResourceURLs)
		}
		names := r.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range r.APIGroups {
			for _, full := range r.Resources {
				name, sub, _ := strings.Cut(full, "/")
				for _, verb := range r.Verbs {
					if slices.Contains([]string{group, name, sub, verb}, rbacv1.VerbAll) {
						return nil, fmt.Errorf("it grants %q on %q of %q", verb, full, group)
					}
					for _, object := range names {
						all = append(all, Grant{Account: account, Resource: resource(group, name, sub), Verb: verb, Namespace: in, Name: object})
					}
				}
			}
		}
	}
	return all, nil
}

func compare(a, b Grant) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
