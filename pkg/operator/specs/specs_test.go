package specs

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
)

// pods are one of each kind.
func pods(t *testing.T) map[string]*corev1.Pod {
	c := parse(t, nil)
	all := map[string]*corev1.Pod{"local": ServerPod(testCluster, c, Server{Node: "n"})}
	for _, mode := range []corev1.PersistentVolumeMode{corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem} {
		claim := testClaim(mode)
		all["server, "+string(mode)] = ServerPod(testCluster, c, Server{Node: "n", Claim: claim})
		all["holder, "+string(mode)] = HolderPod(testCluster, Holder{Node: "n", Claim: *claim})
	}
	return all
}

func TestEveryPod(t *testing.T) {
	for name, pod := range pods(t) {
		owner := pod.OwnerReferences[0]
		if owner.Kind != "ConfigMap" || owner.Name != SettingsName || owner.UID != testCluster.Owner || !*owner.Controller {
			t.Errorf("%s: kubectl drain would stop at it: %+v", name, owner)
		}
		if pod.Spec.PriorityClassName != "system-node-critical" {
			t.Errorf("%s: priority %q", name, pod.Spec.PriorityClassName)
		}
		if pod.Spec.ServiceAccountName != "dotmesh" || *pod.Spec.AutomountServiceAccountToken {
			t.Errorf("%s has a token", name)
		}
		if pod.Spec.NodeName != "" {
			t.Errorf("%s does not go through the scheduler", name)
		}
		if pod.Annotations[AnnotationSpec] == "" || pod.Annotations[AnnotationNodeName] != "n" {
			t.Errorf("%s: annotations %v", name, pod.Annotations)
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if !*c.SecurityContext.ReadOnlyRootFilesystem || len(c.Resources.Requests) != 2 {
				t.Errorf("%s, container %s: %+v", name, c.Name, c.Resources)
			}
		}
	}
}

func TestOnlyServersArePrivileged(t *testing.T) {
	for name, pod := range pods(t) {
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			privileged := c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
			if privileged != (c.Name == "server") {
				t.Errorf("%s, container %s: privileged is %v", name, c.Name, privileged)
			}
			if !privileged && !slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s, container %s: %+v", name, c.Name, c.SecurityContext.Capabilities)
			}
		}
		if !strings.HasPrefix(name, "holder") {
			continue
		}
		if v := pod.Spec.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim == nil || v[1].ConfigMap == nil {
			t.Errorf("%s has not its PVC and the settings alone: %+v", name, v)
		}
		if !*pod.Spec.SecurityContext.RunAsNonRoot || pod.Spec.HostPID || pod.Spec.HostNetwork {
			t.Errorf("%s may do more than wait", name)
		}
	}
}

// Every process of ours follows the settings, as whoever it runs as can read them.
func TestSettingsReachEveryPod(t *testing.T) {
	all := map[string]corev1.PodSpec{"node": NodeDaemonSet(testCluster, parse(t, nil)).Spec.Template.Spec}
	for name, pod := range pods(t) {
		all[name] = pod.Spec
	}
	for name, spec := range all {
		c := spec.Containers[0]
		if !slices.Contains(c.Args, "--settings-dir="+SettingsDir) ||
			!slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == SettingsDir && m.ReadOnly }) {
			t.Errorf("%s does not follow the settings: %v, %v", name, c.Args, c.VolumeMounts)
		}
		if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool {
			return v.ConfigMap != nil && v.ConfigMap.Name == SettingsName && *v.ConfigMap.DefaultMode == 0o444
		}) {
			t.Errorf("%s cannot read the settings: %+v", name, spec.Volumes)
		}
	}
}

// An uninstallation deletes what carries the label; the budget still selects holders,
// which do not.
func TestBudgetIsTheOperators(t *testing.T) {
	h := Holder{Node: "n", Claim: *testClaim(corev1.PersistentVolumeBlock)}
	budget, holder := HolderBudget(testCluster, h), HolderPod(testCluster, h)
	if budget.Labels["app.kubernetes.io/managed-by"] != "dotmesh-operator" {
		t.Errorf("labels %v", budget.Labels)
	}
	for key, value := range budget.Spec.Selector.MatchLabels {
		if holder.Labels[key] != value {
			t.Errorf("it selects %s=%s, which the holder has not", key, value)
		}
	}
}

func TestTolerations(t *testing.T) {
	for key, want := range map[string]bool{
		"node.kubernetes.io/not-ready":             true,
		"node.kubernetes.io/unreachable":           true,
		"node.kubernetes.io/unschedulable":         true,
		"node.kubernetes.io/memory-pressure":       true,
		"node.kubernetes.io/disk-pressure":         true,
		"node.kubernetes.io/pid-pressure":          true,
		"node.kubernetes.io/network-unavailable":   true,
		"node.kubernetes.io/out-of-service":        false,
		"node-role.kubernetes.io/control-plane":    false,
		"somebody.example.com/keeps-this-for-self": false,
	} {
		if got := tolerates(Tolerations(), key, corev1.TaintEffectNoSchedule); got != want {
			t.Errorf("a node with %s is one for dotmesh: %v, want %v", key, got, want)
		}
		// A server that was evicted comes back to where its pool is, but is evicted too.
		if !tolerates(podTolerations(), key, corev1.TaintEffectNoSchedule) {
			t.Errorf("%s keeps pods from being scheduled", key)
		}
		if got := tolerates(podTolerations(), key, corev1.TaintEffectNoExecute); got != want {
			t.Errorf("pods stay with %s: %v, want %v", key, got, want)
		}
	}
}

func tolerates(all []corev1.Toleration, key string, effect corev1.TaintEffect) bool {
	return slices.ContainsFunc(all, func(tol corev1.Toleration) bool {
		return tol.Operator == corev1.TolerationOpExists && (tol.Key == key || tol.Key == "") && (tol.Effect == effect || tol.Effect == "")
	})
}

func TestServerHash(t *testing.T) {
	base := func() (Cluster, map[string]string, Server) {
		return testCluster, map[string]string{}, Server{Node: "n1", Zone: "z1", Claim: testClaim(corev1.PersistentVolumeBlock)}
	}
	cluster, data, server := base()
	was := ServerHash(cluster, parse(t, data), server)
	for name, c := range map[string]struct {
		change  func(*Cluster, map[string]string, *Server)
		another bool
	}{
		"image": {func(c *Cluster, _ map[string]string, _ *Server) { c.Image = "dotmesh:2" }, true},
		"etcd":  {func(c *Cluster, _ map[string]string, _ *Server) { c.Etcd = []string{"https://e:2379"} }, true},
		"local": {func(_ *Cluster, _ map[string]string, s *Server) { s.Claim = nil }, true},
		"volume mode": {func(_ *Cluster, _ map[string]string, s *Server) {
			s.Claim.VolumeMode = corev1.PersistentVolumeFilesystem
		}, true},
		"owner": {func(c *Cluster, _ map[string]string, _ *Server) { c.Owner = "other" }, false},
		"node":  {func(_ *Cluster, _ map[string]string, s *Server) { s.Node = "n2" }, false},
		"zone":  {func(_ *Cluster, _ map[string]string, s *Server) { s.Zone = "z2" }, false},
		"PVC": {func(_ *Cluster, _ map[string]string, s *Server) {
			s.Claim.PVC, s.Claim.UID, s.Claim.PoolName = "p", "u", "n"
		}, false},
		"generation":    {func(_ *Cluster, _ map[string]string, s *Server) { s.Claim.Generation = 4 }, false},
		"take-over":     {func(_ *Cluster, _ map[string]string, s *Server) { s.Claim.TakeOver = true }, false},
		"size":          {func(_ *Cluster, d map[string]string, _ *Server) { d["local.poolSizePerNode"] = "20G" }, false},
		"log address":   {func(_ *Cluster, d map[string]string, _ *Server) { d["logAddress"] = "logs.example.com" }, false},
		"node selector": {func(_ *Cluster, d map[string]string, _ *Server) { d["nodeSelector"] = "a=b" }, false},
		"replicas":      {func(_ *Cluster, d map[string]string, _ *Server) { d["replicas"] = "3" }, false},
	} {
		cluster, data, server := base()
		c.change(&cluster, data, &server)
		if now := ServerHash(cluster, parse(t, data), server); (now != was) != c.another {
			t.Errorf("%s: another hash is %v, want %v", name, now != was, c.another)
		}
	}
}

// A pool in a file grows online too.
func TestSizeOfALocalPoolIsNoReasonToRestart(t *testing.T) {
	small := ServerHash(testCluster, parse(t, nil), Server{})
	if large := ServerHash(testCluster, parse(t, map[string]string{"local.poolSizePerNode": "20G"}), Server{}); large != small {
		t.Error("a larger pool restarts the server")
	}
}

func TestPodsCarryTheHashesThatAreAskedFor(t *testing.T) {
	c := parse(t, nil)
	for _, mode := range []corev1.PersistentVolumeMode{corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem} {
		claim := testClaim(mode)
		if got := HolderPod(testCluster, Holder{Node: "n1", Claim: *claim}).Annotations[AnnotationSpec]; got != HolderHash(testCluster, mode) {
			t.Errorf("holder, %s: %s", mode, got)
		}
		s := Server{Node: "n1", Zone: "z", Claim: claim}
		if got := ServerPod(testCluster, c, s).Annotations[AnnotationSpec]; got != ServerHash(testCluster, c, Server{Claim: &Claim{VolumeMode: mode}}) {
			t.Errorf("server, %s: %s", mode, got)
		}
	}
}

func TestNodeServiceFollowsKubeletDir(t *testing.T) {
	was := NodeDaemonSet(testCluster, parse(t, nil))
	now := NodeDaemonSet(testCluster, parse(t, map[string]string{"kubeletDir": "/opt/kubelet"}))
	if was.Annotations[AnnotationSpec] == now.Annotations[AnnotationSpec] {
		t.Error("it does not roll")
	}
	if got := now.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(); got != "1" {
		t.Errorf("%s nodes are without it at once, want one", got)
	}
	if got := now.Spec.Template.Spec.NodeSelector[LabelServer]; got != True {
		t.Errorf("it runs where %s=%q", LabelServer, got)
	}
}

// TestPodDirs: what the configuration refuses for its own directories is what the pods
// mount, and what every container has.
func TestPodDirs(t *testing.T) {
	c := parse(t, nil)
	mounted := []string{"/proc", "/sys"}
	for _, spec := range []corev1.PodSpec{ServerPod(testCluster, c, Server{Node: "n"}).Spec, NodeDaemonSet(testCluster, c).Spec.Template.Spec} {
		for _, m := range spec.Containers[0].VolumeMounts {
			if m.MountPath != c.Local.PoolLocation.String() && m.MountPath != c.KubeletDir.String() {
				dir := m.MountPath
				if strings.HasPrefix(dir, "/etc/dotmesh/") {
					dir = "/etc/dotmesh"
				}
				mounted = append(mounted, dir)
			}
		}
	}
	slices.Sort(mounted)
	if got := slices.Compact(mounted); !slices.Equal(got, config.PodDirs()) {
		t.Errorf("config.PodDirs has %v, pods mount %v", config.PodDirs(), got)
	}
}
