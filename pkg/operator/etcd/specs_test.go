package etcd

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/certs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/golden"
)

func local() Spec {
	return Spec{Namespace: "storage", Image: "etcd:1", Dotmesh: "dotmesh:1", Class: LocalClass, Trust: "ca"}
}

func onDisks() Spec {
	s := local()
	s.Class = "disks"
	s.Nodes = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "ssd", Operator: corev1.NodeSelectorOpExists}}}}}
	return s
}

// What is made is what testdata shows: a change of a pod has every member restarted.
func TestGolden(t *testing.T) {
	golden.Check(t, map[string]any{"statefulset-local": local().StatefulSet(), "statefulset-disks": onDisks().StatefulSet()})
}

func TestStatefulSet(t *testing.T) {
	for class, spec := range map[string]Spec{LocalClass: local(), "disks": onDisks()} {
		set := spec.StatefulSet()
		if set.Name != "dotmesh-etcd-cluster" || *set.Spec.Replicas != 0 || set.Spec.ServiceName != spec.Services()[0].Name {
			t.Errorf("%s: got %s of %d for %s", class, set.Name, *set.Spec.Replicas, set.Spec.ServiceName)
		}
		if named := set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; named == nil || *named != class {
			t.Errorf("%s: got the class %v", class, named)
		}
		etcd := set.Spec.Template.Spec.Containers[0]
		for _, arg := range []string{"--client-cert-auth", "--peer-client-cert-auth",
			"--initial-advertise-peer-urls=https://$(POD_NAME).dotmesh-etcd-cluster.storage.svc:2380"} {
			if !slices.Contains(etcd.Args, arg) {
				t.Errorf("%s: etcd lacks %s", class, arg)
			}
		}
		// A member that restarts must not care what the cluster was when it joined.
		if slices.ContainsFunc(etcd.Args, func(arg string) bool { return strings.HasPrefix(arg, "--initial-cluster") }) {
			t.Errorf("%s: the initial cluster is in the arguments, which would restart every member", class)
		}
		before := set.Spec.Template.Spec.InitContainers
		if len(before) != 2 || before[0].Name != lookContainer || before[1].Name != joinContainer {
			t.Fatalf("%s: etcd is started after %+v", class, before)
		}
		for _, c := range before {
			if c.Image != "dotmesh:1" || !c.VolumeMounts[0].ReadOnly || slices.Contains(c.Args, "--look") != (c.Name == lookContainer) {
				t.Errorf("%s: etcd is started after %+v", class, c)
			}
		}
		join := before[1]
		for _, arg := range []string{"--state=$(ETCD_INITIAL_CLUSTER_STATE)", "--data-dir=/var/lib/dotmesh/etcd/data", "--endpoints=https://dotmesh-etcd-cluster-client.storage.svc:2379",
			"--peer-url=https://$(POD_NAME).dotmesh-etcd-cluster.storage.svc:2380"} {
			if !slices.Contains(join.Args, arg) {
				t.Errorf("%s: it lacks %s: %q", class, arg, join.Args)
			}
		}
	}
}

// What runs before and beside etcd follows the settings, and etcd starts also without
// them.
func TestOurContainersFollowTheSettings(t *testing.T) {
	pod := local().StatefulSet().Spec.Template.Spec
	for _, c := range []corev1.Container{pod.InitContainers[0], pod.InitContainers[1], pod.Containers[1]} {
		if c.Image != "dotmesh:1" || !slices.Contains(c.Args, "--settings-dir="+specs.SettingsDir) {
			t.Errorf("%s of %s: arguments %v", c.Name, c.Image, c.Args)
		}
		mounted := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == specs.SettingsDir && m.ReadOnly })
		if mounted < 0 {
			t.Fatalf("%s: mounts %v", c.Name, c.VolumeMounts)
		}
		found := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == c.VolumeMounts[mounted].Name })
		if m := pod.Volumes[found].ConfigMap; m == nil || m.Name != specs.SettingsName || !*m.Optional {
			t.Errorf("%s: mounts %+v", c.Name, pod.Volumes[found])
		}
	}
}

// A pod of etcd has nothing that it does not need, and goes after all others.
func TestPodOfEtcd(t *testing.T) {
	for class, spec := range map[string]Spec{LocalClass: local(), "disks": onDisks()} {
		pod := spec.StatefulSet().Spec.Template.Spec
		if pod.ServiceAccountName != specs.ServiceAccount || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: it has a token, of account %q", class, pod.ServiceAccountName)
		}
		if pod.PriorityClassName != "system-cluster-critical" {
			t.Errorf("%s: priority %q", class, pod.PriorityClassName)
		}
		if s := pod.SecurityContext.SeccompProfile; s == nil || s.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: seccomp %v", class, s)
		}
		if pod.HostNetwork || pod.HostPID || pod.HostIPC {
			t.Errorf("%s: it is in a namespace of the node's", class)
		}
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			if s := c.SecurityContext; s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				t.Errorf("%s: %s may do too much", class, c.Name)
			}
			if len(c.Resources.Requests) != 2 {
				t.Errorf("%s: %s asks for %v", class, c.Name, c.Resources.Requests)
			}
		}
	}
}

func TestWherePodsGo(t *testing.T) {
	if a := local().StatefulSet().Spec.Template.Spec.Affinity; a.NodeAffinity != nil {
		t.Errorf("local volumes decide, but pods want %v", a.NodeAffinity)
	}
	if a := onDisks().StatefulSet().Spec.Template.Spec.Affinity; a.NodeAffinity == nil {
		t.Error("pods go where no server is")
	}
	for name, spec := range map[string]Spec{"local": local(), "pvcPerNode": onDisks()} {
		template := spec.StatefulSet().Spec.Template
		if len(template.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) != 1 {
			t.Errorf("%s: two members on one node", name)
		}
		tolerates := func(key string, effect corev1.TaintEffect) bool {
			return slices.ContainsFunc(template.Spec.Tolerations, func(tol corev1.Toleration) bool {
				return (tol.Key == "" || tol.Key == key) && (tol.Effect == "" || tol.Effect == effect)
			})
		}
		if !tolerates(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute) || tolerates(corev1.TaintNodeOutOfService, corev1.TaintEffectNoExecute) {
			t.Errorf("%s: got tolerations %v", name, template.Spec.Tolerations)
		}
		if stays := tolerates(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule); stays != (name == "local") {
			t.Errorf("%s: starts on a cordoned node: %v", name, stays)
		}
	}
}

func TestWhatMakesPodsOutdated(t *testing.T) {
	spec := func(s Spec) string { return s.StatefulSet().Spec.Template.Annotations[specs.AnnotationSpec] }
	base := onDisks()
	for what, tt := range map[string]struct {
		change   func(*Spec)
		outdated bool
	}{
		"another etcd":     {func(s *Spec) { s.Image = "etcd:2" }, true},
		"another dotmesh":  {func(s *Spec) { s.Dotmesh = "dotmesh:2" }, true},
		"another CA":       {func(s *Spec) { s.Trust = "next" }, true}, // etcd reads it at its start only
		"another selector": {func(s *Spec) { s.Nodes = nil }, false},
	} {
		changed := base
		tt.change(&changed)
		if got := spec(changed) != spec(base); got != tt.outdated {
			t.Errorf("%s: outdated %v", what, got)
		}
		if specHash(changed.StatefulSet()) == specHash(base.StatefulSet()) {
			t.Errorf("%s: the StatefulSet would not be changed", what)
		}
	}
	if got := base.StatefulSet().Spec.Template.Annotations[certs.TrustAnnotation]; got != "ca" {
		t.Errorf("pods say that they believe %q", got)
	}
}

func TestVolume(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a.example.org", Labels: map[string]string{corev1.LabelHostname: "node-a"}}}
	v := local().Volume(2, "00000000000003e9", "/pools", node, 1001)
	if v.Namespace != "" || v.Spec.HostPath.Path != "/pools/etcd/dotmesh-etcd-cluster-2-00000000000003e9" || *v.Spec.HostPath.Type != corev1.HostPathDirectoryOrCreate {
		t.Errorf("got %s/%s at %v", v.Namespace, v.Name, v.Spec.HostPath)
	}
	if v.Spec.ClaimRef.Name != "data-dotmesh-etcd-cluster-2" || v.Spec.ClaimRef.Namespace != "storage" || v.Spec.StorageClassName != LocalClass {
		t.Errorf("got %v of class %q", v.Spec.ClaimRef, v.Spec.StorageClassName)
	}
	if got := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values; !slices.Equal(got, []string{"node-a"}) {
		t.Errorf("it is pinned to %v", got)
	}
	if got := parseMember(v.Annotations[memberAnnotation]); got != 1001 || v.Annotations[specs.AnnotationNodeName] != node.Name {
		t.Errorf("got %v", v.Annotations)
	}
	if first := local().Volume(0, "uid", "/pools", node, 0); parseMember(first.Annotations[memberAnnotation]) != 0 {
		t.Error("the first volume has a member already")
	}
}

func TestServicesAndBudget(t *testing.T) {
	peers, clients := local().Services()[0], local().Services()[1]
	if peers.Spec.ClusterIP != corev1.ClusterIPNone || !peers.Spec.PublishNotReadyAddresses || clients.Spec.PublishNotReadyAddresses {
		t.Errorf("got %+v and %+v", peers.Spec, clients.Spec)
	}
	if got, want := Endpoints("storage"), "https://"+clients.Name+".storage.svc:2379"; len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if b := local().Budget(); b.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("got %v", b.Spec)
	}
}
