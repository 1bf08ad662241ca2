package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func rule(group, resources, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Fields(resources), Verbs: strings.Fields(verbs), ResourceNames: names}
}

// bound are a ClusterRole, a Role of the same name, and both bound to operator.
func bound(cluster, own []rbacv1.PolicyRule, to ...rbacv1.Subject) []runtime.Object {
	if len(to) == 0 {
		to = []rbacv1.Subject{{Kind: "ServiceAccount", Name: "operator", Namespace: "dotmesh"}}
	}
	meta := metav1.ObjectMeta{Name: "r", Namespace: "dotmesh"}
	return []runtime.Object{
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: cluster},
		&rbacv1.Role{ObjectMeta: meta, Rules: own},
		&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"}, Subjects: to},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "r"}, Subjects: to},
	}
}

func TestGrants(t *testing.T) {
	got, err := Grants(bound(
		[]rbacv1.PolicyRule{rule("", "nodes persistentvolumes/status", "get patch"), rule("", "nodes", "get")},
		[]rbacv1.PolicyRule{rule("apps", "daemonsets", "update", "dotmesh-node", "other")},
	), "dotmesh")
	want := []Grant{
		{"operator", "daemonsets.apps", "update", "dotmesh", "dotmesh-node"},
		{"operator", "daemonsets.apps", "update", "dotmesh", "other"},
		{"operator", "nodes", "get", "", ""},
		{"operator", "nodes", "patch", "", ""},
		{"operator", "persistentvolumes/status", "get", "", ""},
		{"operator", "persistentvolumes/status", "patch", "", ""},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestGrantsThatNobodyShouldHave(t *testing.T) {
	some := []rbacv1.PolicyRule{rule("", "pods", "get")}
	for name, objects := range map[string][]runtime.Object{
		"every verb":       bound([]rbacv1.PolicyRule{rule("", "pods", "*")}, nil),
		"every resource":   bound([]rbacv1.PolicyRule{rule("", "*", "get")}, nil),
		"every sub":        bound([]rbacv1.PolicyRule{rule("", "pods/*", "get")}, nil),
		"every group":      bound(nil, []rbacv1.PolicyRule{rule("*", "pods", "get")}),
		"a URL":            bound([]rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}, nil),
		"a group of users": bound(some, nil, rbacv1.Subject{Kind: "Group", Name: "system:authenticated"}),
		"another account":  bound(some, nil, rbacv1.Subject{Kind: "ServiceAccount", Name: "default", Namespace: "kube-system"}),
		"a role elsewhere": bound(some, nil)[2:],
	} {
		if got, err := Grants(objects, "dotmesh"); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader(log(t)), "dotmesh", time.Time{})
	want := []Request{
		{Account: "operator", Resource: "pods", Verb: "list", Agent: "dotmesh"},
		{Account: "operator", Resource: "pods", Verb: "watch", Agent: "dotmesh"},
		{Account: "operator", Resource: "leases.coordination.k8s.io", Verb: "update", Namespace: "dotmesh", Name: "dotmesh-operator", Agent: "dotmesh"},
		{Account: "dotmesh-controller", Resource: "volumeattachments.storage.k8s.io/status", Verb: "patch", Name: "csi-1", Agent: "csi-attacher"},
		{Account: "operator", Resource: "secrets", Verb: "get", Namespace: "default", Name: "token", Agent: "dotmesh", Forbidden: true},
		{Account: "operator", Resource: "configmaps", Verb: "create", Namespace: "going", Agent: "dotmesh"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v\n%v, want %v", got, err, want)
	}
	later, err := Read(strings.NewReader(log(t)), "dotmesh", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	want = slices.DeleteFunc(want, func(r Request) bool { return r.Forbidden })
	if err != nil || !slices.Equal(later, want) {
		t.Errorf("without what was refused before: got %v\n%v, want %v", later, err, want)
	}
}

func TestReadOfALogThatIsWritten(t *testing.T) {
	whole := log(t)
	cut, err := Read(strings.NewReader(whole[:len(whole)-20]), "dotmesh", time.Time{})
	if err != nil || len(cut) == 0 {
		t.Errorf("got %v, %v of a log with half a line at its end", cut, err)
	}
	for _, bad := range []string{"garbage\n", "{}\n", `{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1"}` + "\n"} {
		if got, err := Read(strings.NewReader(bad+whole), "dotmesh", time.Time{}); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: got %v, %v, want an error", bad, got, err)
		}
	}
}

func TestCompare(t *testing.T) {
	requests, err := Read(strings.NewReader(log(t)), "dotmesh", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	used := []Grant{
		{"operator", "pods", "list", "", ""},
		{"operator", "leases.coordination.k8s.io", "update", "dotmesh", "dotmesh-operator"},
		{"dotmesh-controller", "volumeattachments.storage.k8s.io/status", "patch", "", ""},
	}
	unusedOnes := []Grant{
		{"operator", "pods", "get", "", ""},                                         // another verb
		{"operator", "pods", "list", "dotmesh", ""},                                 // of all namespaces, so that this one was not enough
		{"operator", "leases.coordination.k8s.io", "update", "dotmesh", "other"},    // another object
		{"dotmesh-controller", "pods", "list", "", ""},                              // somebody else
		{"dotmesh-controller", "volumeattachments.storage.k8s.io", "patch", "", ""}, // without the status
		{"operator", "secrets", "get", "default", ""},                               // was refused
		{"operator", "leases", "update", "dotmesh", "dotmesh-operator"},             // another group
		{"operator", "leases.coordination.k8s.io", "update", "kube-system", ""},     // another namespace
	}
	unused, forbidden := Compare(slices.Concat(used, unusedOnes), requests)
	if !slices.Equal(unused, unusedOnes) {
		t.Errorf("got unused %v, want %v", unused, unusedOnes)
	}
	if len(forbidden) != 1 || forbidden[0].Resource != "secrets" {
		t.Errorf("got forbidden %v, want the secret", forbidden)
	}
}

const page = "# Page\n\n## One\n\n| account | resource | verbs | where | why |\n|---|---|---|---|---|\n" +
	"| `a` | `pods` | `get`, `list` | cluster | because |\n| `a` | `pods` | `watch` | namespace | so |\n\n## Rest\n\n| `a` | `pods` | `list` | cluster | seldom |\n"

func TestReadPage(t *testing.T) {
	granted, unused, err := ReadPage(page, "Rest", "dotmesh")
	if err != nil || len(granted) != 3 || len(unused) != 1 {
		t.Fatalf("got %v, %v, %v", granted, unused, err)
	}
	get, list, watch := Grant{"a", "pods", "get", "", ""}, Grant{"a", "pods", "list", "", ""}, Grant{"a", "pods", "watch", "dotmesh", ""}
	if granted[get] != "because" || granted[watch] != "so" || unused[list] != "seldom" {
		t.Errorf("got %v, %v", granted, unused)
	}
	if rest := unused.Without([]Grant{get, list, {"a", "pods", "list", "", "only"}}); !slices.Equal(rest, []Grant{get}) {
		t.Errorf("got %v, want %v", rest, get)
	}
	for _, row := range []string{"| `a` | `pods` | `get` | cluster | again |", "| `a` | `b` | `get` | here | so |", "| `a` | `b` | `get` | cluster | |", "| `a` | `b` | get | cluster | so |", "| `a` | `b` | `get` | so |"} {
		if _, _, err := ReadPage(page[:strings.Index(page, "\n## Rest")]+row+"\n", "Rest", "dotmesh"); err == nil {
			t.Errorf("%q: want an error", row)
		}
	}
}
