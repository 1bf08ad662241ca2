package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// deployments are the objects of each rendered deployment, by the file's name.
func deployments(t *testing.T) map[string][]runtime.Object {
	t.Helper()
	all := map[string][]runtime.Object{}
	for _, file := range glob(t, "deploy/rendered/dotmesh-*.yaml") {
		all[filepath.Base(file)] = parse(t, file)
	}
	return all
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryPodHasOneImageOfOurs(t *testing.T) {
	for file, objects := range deployments(t) {
		images := map[string][]string{}
		for pod, template := range podsOf(objects) {
			for _, c := range template.Spec.Containers {
				if len(c.Command) > 0 && c.Command[0] == "dotmesh" {
					images[c.Image] = append(images[c.Image], pod)
				}
			}
		}
		if len(images) != 1 {
			t.Errorf("%s: pods have these images of ours: %v", file, images)
		}
	}
}

// Of two kustomizations that name our image, one made of the other, the upper one finds
// only what the lower has left, and a change of either is one of some pods.
func TestOurImageIsNamedOnce(t *testing.T) {
	overlays, err := filepath.Glob(filepath.Join(root, "deploy/overlays/*"))
	if err != nil || len(overlays) == 0 {
		t.Fatalf("overlays %v, %v", overlays, err)
	}
	for _, dir := range append(overlays, filepath.Join(root, "deploy/static")) {
		if by := namersOfOurImage(t, dir); len(by) != 1 {
			t.Errorf("%s: our image is named by %v, want one", dir, by)
		}
	}
}

// namersOfOurImage are the kustomizations that do, of one and of what it is made of.
func namersOfOurImage(t *testing.T, dir string) (by []string) {
	t.Helper()
	var k struct {
		Resources []string
		Images    []struct{ Name string }
	}
	if err := yaml.Unmarshal([]byte(content(t, filepath.Join(dir, "kustomization.yaml"))), &k); err != nil {
		t.Fatal(err)
	}
	for _, image := range k.Images {
		if image.Name == "dotmesh" || image.Name == "dotmesh.io/dotmesh" {
			by = append(by, dir)
		}
	}
	for _, resource := range k.Resources {
		if !strings.HasSuffix(resource, ".yaml") {
			by = append(by, namersOfOurImage(t, filepath.Join(dir, resource))...)
		}
	}
	return by
}

// The ConfigMaps differ in where pools are: they have the same keys, the same comments,
// and the same other values.
func TestConfigMapsAreAlike(t *testing.T) {
	where := regexp.MustCompile(`(?m)^  (storageMode|pvcPerNode\.storageClass): \S+$`)
	texts := map[string]string{}
	for _, file := range glob(t, "deploy/overlays/*/configmap.yaml") {
		_, text, found := strings.Cut(content(t, file), "# What you configure;")
		if got := len(where.FindAllString(text, -1)); !found || got != 2 {
			t.Errorf("%s says where pools are in %d keys, or nothing of what is configured", file, got)
		}
		texts[file] = where.ReplaceAllString(text, "  $1: …")
	}
	local := filepath.Join(root, "deploy/overlays/local/configmap.yaml")
	if len(texts) != 4 || texts[local] == "" {
		t.Fatalf("%d ConfigMaps, and of local %q", len(texts), texts[local])
	}
	for file, text := range texts {
		if text != texts[local] {
			t.Errorf("%s is not that of local but for where pools are:\n%s\n\nlocal:\n%s", file, text, texts[local])
		}
	}
}

// Without a ResourceQuota that names their priorities GKE lets none of our pods in: those
// of the file, and those that the operator makes.
func TestGKELetsOurPodsIn(t *testing.T) {
	objects := deployments(t)["dotmesh-gke.yaml"]
	i := slices.IndexFunc(objects, func(o runtime.Object) bool { _, is := o.(*corev1.ResourceQuota); return is })
	if i < 0 {
		t.Fatal("there is no ResourceQuota")
	}
	quota := objects[i].(*corev1.ResourceQuota)
	if quota.Namespace != "dotmesh" || quota.Spec.Hard.Pods().Value() < 10000 || quota.Spec.ScopeSelector == nil || len(quota.Spec.ScopeSelector.MatchExpressions) != 1 {
		t.Fatalf("the ResourceQuota of %s: %+v", quota.Namespace, quota.Spec)
	}
	covers := quota.Spec.ScopeSelector.MatchExpressions[0]
	if covers.ScopeName != corev1.ResourceQuotaScopePriorityClass || covers.Operator != corev1.ScopeSelectorOpIn {
		t.Errorf("it covers %+v", covers)
	}
	used := []string{"system-node-critical", "system-cluster-critical"} // servers, holders, node services; etcd
	for _, template := range podsOf(objects) {
		used = append(used, template.Spec.PriorityClassName)
	}
	for _, priority := range used {
		if !slices.Contains(covers.Values, priority) {
			t.Errorf("it covers %v, and not %q", covers.Values, priority)
		}
	}
}

// The documented command takes everything of the file away but the Namespace, with which
// all data would go.
func TestUninstallingKeepsTheNamespace(t *testing.T) {
	command := regexp.MustCompile(`kubectl delete -f deploy/rendered/dotmesh-default\.yaml -l '([^']+)'`)
	found := command.FindStringSubmatch(content(t, filepath.Join(root, "deploy/README.md")))
	if found == nil {
		t.Fatal("deploy/README.md has no such command")
	}
	selector, err := labels.Parse(found[1])
	if err != nil {
		t.Fatal(err)
	}
	for file, objects := range deployments(t) {
		for _, o := range objects {
			named, err := meta.Accessor(o)
			if err != nil {
				t.Fatal(err)
			}
			_, isNamespace := o.(*corev1.Namespace)
			if deleted := selector.Matches(labels.Set(named.GetLabels())); deleted == isNamespace {
				t.Errorf("%s: %T %s is deleted: %t", file, o, named.GetName(), deleted)
			}
		}
	}
}
