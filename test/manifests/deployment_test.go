package manifests

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func rendered(t *testing.T) []runtime.Object {
	return parse(t, filepath.Join(root, "deploy/rendered/dotmesh-static.yaml"))
}

// find gives the one object of type T with a name.
func find[T any, P interface {
	*T
	runtime.Object
	GetName() string
}](t *testing.T, name string) P {
	t.Helper()
	for _, o := range rendered(t) {
		if p, ok := o.(P); ok && p.GetName() == name {
			return p
		}
	}
	t.Fatalf("no %T is called %s", *new(T), name)
	return nil
}

// pods gives the pod template of every workload of the static deployment, by name.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec { return podsOf(rendered(t)) }

func podsOf(objects []runtime.Object) map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			all[o.Name] = o.Spec.Template
		case *appsv1.DaemonSet:
			all[o.Name] = o.Spec.Template
		case *appsv1.StatefulSet:
			all[o.Name] = o.Spec.Template
		}
	}
	return all
}

func TestWhatIsDeployed(t *testing.T) {
	static := []string{"dotmesh-controller", "dotmesh-etcd", "dotmesh-node", "dotmesh-server"}
	operated := []string{"dotmesh-controller", "dotmesh-operator"}
	for file, objects := range deployments(t) {
		got, want := slices.Sorted(maps.Keys(podsOf(objects))), operated
		if file == "dotmesh-static.yaml" || file == "dotmesh-lab.yaml" {
			want = static
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: workloads %v, want %v", file, got, want)
		}
	}
}

func TestCSIDriverAndClasses(t *testing.T) {
	d := find[storagev1.CSIDriver](t, "dotmesh.csi").Spec
	if !*d.AttachRequired || !*d.StorageCapacity || *d.PodInfoOnMount || *d.FSGroupPolicy != storagev1.FileFSGroupPolicy {
		t.Errorf("CSIDriver: %+v", d)
	}
	c := find[storagev1.StorageClass](t, "dotmesh")
	if *c.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer || !*c.AllowVolumeExpansion || *c.ReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		t.Errorf("StorageClass: %+v", c)
	}
	s := find[corev1.Service](t, "dotmesh").Spec
	if s.Type != corev1.ServiceTypeNodePort || s.Ports[0].Port != 32607 || s.Ports[0].NodePort != 32607 {
		t.Errorf("Service: %+v", s)
	}
}

// Calls need the API key alone.
func TestOnlyTheServerHasThePassword(t *testing.T) {
	for pod, template := range pods(t) {
		for _, v := range template.Spec.Volumes {
			if pod == "dotmesh-server" || v.Secret == nil || v.Secret.SecretName != "dotmesh" {
				continue
			}
			if items := v.Secret.Items; len(items) != 1 || items[0].Key != "dotmesh-api-key.txt" || items[0].Path != items[0].Key {
				t.Errorf("%s mounts %v of the Secret dotmesh, want the API key alone", pod, items)
			}
		}
	}
}

// The arguments without which the sidecars would ask too little or too often, or
// twice; more are allowed.
func TestSidecarArguments(t *testing.T) {
	want := map[string][]string{
		"csi-provisioner": {"--extra-create-metadata", "--enable-capacity", "--strict-topology", "--timeout=60s", "--retry-interval-max=10s", "--leader-election"},
		"csi-attacher":    {"--timeout=60s", "--retry-interval-max=10s", "--leader-election"},
		"csi-resizer":     {"--leader-election"},
		"csi-snapshotter": {"--extra-create-metadata", "--leader-election"},
	}
	for _, c := range pods(t)["dotmesh-controller"].Spec.Containers {
		for _, arg := range want[c.Name] {
			if !slices.Contains(c.Args, arg) {
				t.Errorf("%s lacks %s", c.Name, arg)
			}
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("not in the controller's pod: %v", slices.Sorted(maps.Keys(want)))
	}
}

// Only the server and the node service are privileged; nothing else has a
// capability or a writable root, and of all others only etcd, whose directory on the
// host is root's, runs as root.
func TestPrivileges(t *testing.T) {
	for file, objects := range deployments(t) {
		t.Run(file, func(t *testing.T) { checkPrivileges(t, podsOf(objects)) })
	}
}

func checkPrivileges(t *testing.T, pods map[string]corev1.PodTemplateSpec) {
	privileged := []string{"dotmesh-server/server", "dotmesh-node/node"}
	asRoot := []string{"dotmesh-server", "dotmesh-node", "dotmesh-etcd"}
	for pod, template := range pods {
		if p := template.Spec.SecurityContext; !slices.Contains(asRoot, pod) && (p == nil || p.RunAsNonRoot == nil || !*p.RunAsNonRoot) {
			t.Errorf("%s may run as root", pod)
		}
		for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
			name, s := pod+"/"+c.Name, c.SecurityContext
			if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: its root file system is writable", name)
				continue
			}
			if slices.Contains(privileged, name) {
				continue
			}
			if s.Privileged != nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				t.Errorf("%s: has privileges: %+v", name, s)
			}
			if p := template.Spec.SecurityContext; p == nil || p.SeccompProfile == nil || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%s: no seccomp profile", name)
			}
		}
	}
}

// What waits for something else when it starts is not killed for that: it would then be
// away for kubelet's back-off of up to five minutes when the other is there.
func TestNothingIsKilledWhileItStarts(t *testing.T) {
	const patience = 600 // seconds
	for file, objects := range deployments(t) {
		for pod, template := range podsOf(objects) {
			for _, c := range template.Spec.Containers {
				if c.LivenessProbe == nil {
					continue
				}
				if p := c.StartupProbe; p == nil || p.PeriodSeconds*p.FailureThreshold < patience {
					t.Errorf("%s: %s/%s may be killed while it starts: %+v", file, pod, c.Name, p)
				}
			}
		}
	}
}

// A copy of the host's mounts that does not follow them keeps datasets busy.
func TestHostMountsPropagate(t *testing.T) {
	for pod, template := range pods(t) {
		hostPaths := map[string]string{}
		for _, v := range template.Spec.Volumes {
			if v.HostPath != nil {
				hostPaths[v.Name] = v.HostPath.Path
			}
		}
		for _, c := range template.Spec.Containers {
			for _, m := range c.VolumeMounts {
				if p := hostPaths[m.Name]; (p == "/" || strings.HasPrefix(p, "/var/lib/kubelet")) && m.MountPropagation == nil {
					t.Errorf("%s mounts the host's %s without propagation", pod, p)
				}
			}
		}
	}
}

// No rule names everything, no secret is readable, and only the controller has
// an account with rules.
func TestRBAC(t *testing.T) {
	var rules []rbacv1.PolicyRule
	for _, o := range rendered(t) {
		switch o := o.(type) {
		case *rbacv1.ClusterRole:
			rules = append(rules, o.Rules...)
		case *rbacv1.Role:
			rules = append(rules, o.Rules...)
		case *rbacv1.ClusterRoleBinding:
			subjects(t, o.Name, o.RoleRef, o.Subjects)
		case *rbacv1.RoleBinding:
			subjects(t, o.Name, o.RoleRef, o.Subjects)
		}
	}
	for _, r := range rules {
		for _, field := range [][]string{r.APIGroups, r.Resources, r.Verbs} {
			if slices.Contains(field, "*") || slices.Contains(field, "secrets") {
				t.Errorf("too much: %+v", r)
			}
		}
	}
	want := []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}},
		{Verbs: []string{"get"}, APIGroups: []string{"snapshot.storage.k8s.io"}, Resources: []string{"volumesnapshots"}},
	}
	got := find[rbacv1.ClusterRole](t, "dotmesh-controller").Rules
	if !slices.EqualFunc(got, want, func(a, b rbacv1.PolicyRule) bool { return a.String() == b.String() }) {
		t.Errorf("the controller's own rules are %v, want %v", got, want)
	}
	for _, pod := range []string{"dotmesh-server", "dotmesh-node", "dotmesh-etcd"} {
		if mount := pods(t)[pod].Spec.AutomountServiceAccountToken; mount == nil || *mount {
			t.Errorf("%s is handed a token", pod)
		}
	}
}

func subjects(t *testing.T, name string, ref rbacv1.RoleRef, all []rbacv1.Subject) {
	t.Helper()
	if ref.Name == "cluster-admin" {
		t.Errorf("%s binds cluster-admin", name)
	}
	for _, s := range all {
		if s.Kind != rbacv1.ServiceAccountKind || s.Name != "dotmesh-controller" || s.Namespace != "dotmesh" {
			t.Errorf("%s binds %+v", name, s)
		}
	}
}

// What is built without a registry is what is deployed with one.
func TestSidecarVersions(t *testing.T) {
	modules := map[string]string{}
	for _, f := range []string{"sidecars/modules/sidecars/go.mod", "sidecars/modules/provisioner/go.mod"} {
		text, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`kubernetes-csi/external-([a-z]+)/v\d+ (v[0-9.]+)`).FindAllStringSubmatch(string(text), -1) {
			modules["csi-"+m[1]] = m[2]
		}
	}
	for _, c := range pods(t)["dotmesh-controller"].Spec.Containers {
		if !strings.HasPrefix(c.Name, "csi-") {
			continue
		}
		if _, tag, _ := strings.Cut(c.Image, ":"); tag != modules[c.Name] || tag == "" {
			t.Errorf("%s is deployed as %s and built as %q", c.Name, tag, modules[c.Name])
		}
	}
}
