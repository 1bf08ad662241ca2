//go:build apiserver

package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/pkg/pki"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

var errKilled = errors.New("killed")

// told are Events.
type told chan string

func (t told) Warning(on *corev1.ObjectReference, reason, note string) {
	t <- fmt.Sprintf("%s %s %s: %s", on.Kind, on.Name, reason, note)
}

// world is an API server with the controllers that etcd's objects need. The test is
// scheduler and kubelet.
type world struct {
	*Reconciler
	t        *testing.T
	direct   client.Client
	etcd     *fakeEtcd
	events   told
	data     map[string]string
	registry *prometheus.Registry
	// kill is how often, of ten, the operator dies right after it changed something.
	kill int
	// rolling servers have others wait with a new image.
	rolling bool
	// ahead is how much later it is for the operator.
	ahead time.Duration
}

func newWorld(t *testing.T, data map[string]string) *world {
	t.Helper()
	s := apiserver.Start(t)
	s.Controllers(t, "statefulset-controller", "disruption-controller", "persistentvolume-binder-controller", "persistentvolume-protection-controller", "persistentvolumeclaim-protection-controller", "serviceaccount-controller")
	s.Config.QPS = -1 // no throttling
	direct, err := client.NewWithWatch(s.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What changes anything is done as the service account of the manifests.
	operator, err := client.New(s.As("system:serviceaccount:dotmesh:dotmesh-operator"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, direct: direct, etcd: newFakeEtcd(t), events: make(told, 1000), data: data, registry: registry}
	chance := rand.New(rand.NewPCG(1, 2))
	dies := func(err error) error {
		if err == nil && chance.IntN(10) < w.kill {
			return errKilled
		}
		return err
	}
	killed := interceptor.NewClient(direct, interceptor.Funcs{
		Create: func(ctx context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return dies(operator.Create(ctx, o, opts...))
		},
		Update: func(ctx context.Context, _ client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return dies(operator.Update(ctx, o, opts...))
		},
		Patch: func(ctx context.Context, _ client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return dies(operator.Patch(ctx, o, patch, opts...))
		},
		Delete: func(ctx context.Context, _ client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return dies(operator.Delete(ctx, o, opts...))
		},
		SubResourceCreate: func(ctx context.Context, _ client.Client, name string, of, o client.Object, opts ...client.SubResourceCreateOption) error {
			return dies(operator.SubResource(name).Create(ctx, of, o, opts...))
		},
	})
	w.Reconciler = &Reconciler{
		Client: killed, Events: w.events, Metrics: m,
		Spec: Spec{Namespace: namespace, Image: "etcd:1", Dotmesh: "dotmesh:1"},
		Config: func(context.Context) (config.Config, bool, error) {
			c, _, err := config.Parse(w.data)
			return c, true, err
		},
		ServersCameUp: func() bool { return !w.rolling },
		Connect:       func(*tls.Config) (Cluster, error) { return w.etcd, nil },
		Now:           func() time.Time { return time.Now().Add(w.ahead) },
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	if out, err := s.Kubectl(t.Context(), "-n", namespace, "apply", "-f", "../../../deploy/operator/operator.yaml"); err != nil {
		t.Fatal(err, out)
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "dotmesh"}})
	made, err := pki.Bundle(pki.BundleConfig{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range made {
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: files})
	}
	return w
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.direct.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) addNode(name string) {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	w.create(n)
	n = w.patchNode(name, func(n *corev1.Node) { n.Spec.Taints = nil }) // the API server's own, until a node is ready
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := w.direct.Status().Update(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) patchNode(name string, change func(*corev1.Node)) *corev1.Node {
	w.t.Helper()
	var n corev1.Node
	err := w.direct.Get(w.t.Context(), client.ObjectKey{Name: name}, &n)
	if err == nil {
		change(&n)
		err = w.direct.Update(w.t.Context(), &n)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return &n
}

// loseNode is a power cut after which the node is deleted.
func (w *world) loseNode(name string) {
	w.t.Helper()
	for _, p := range w.pods() {
		if p.Spec.NodeName == name {
			w.etcd.stop(w.ordinal(p))
		}
	}
	if err := w.direct.Delete(w.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pods() []corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	if err := w.direct.List(w.t.Context(), &pods, client.InNamespace(namespace)); err != nil {
		w.t.Fatal(err)
	}
	return pods.Items
}

func (w *world) ordinal(p corev1.Pod) int {
	n, err := strconv.Atoi(p.Labels["apps.kubernetes.io/pod-index"])
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// until lets everybody work until it is so.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			o, err := w.observe(w.t.Context(), mustConfig(w.t, w.data))
			w.t.Fatalf("%s: not within a minute; members %+v, seen %+v (%v)", what, w.etcd.members, o.state, err)
		}
		_, err := w.Reconcile(w.t.Context(), reconcile.Request{})
		if err != nil && !errors.Is(err, errKilled) && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			w.t.Fatal(err)
		}
		w.kubelet()
	}
}

// steps lets everybody work for a while.
func (w *world) steps(n int) {
	w.t.Helper()
	done := -1
	w.until("steps", func() bool { done++; return done == n })
}

func mustConfig(t *testing.T, data map[string]string) config.Config {
	t.Helper()
	c, _, err := config.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubelet places, starts and ends pods.
func (w *world) kubelet() {
	w.t.Helper()
	for _, p := range w.pods() {
		node := corev1.Node{}
		exists := p.Spec.NodeName != "" && w.direct.Get(w.t.Context(), client.ObjectKey{Name: p.Spec.NodeName}, &node) == nil
		switch {
		case exists && !isReady(&node): // nobody is there
		case p.DeletionTimestamp != nil && exists:
			w.etcd.stop(w.ordinal(p))
			_ = client.IgnoreNotFound(w.direct.Delete(w.t.Context(), &p, client.GracePeriodSeconds(0)))
		case p.DeletionTimestamp != nil:
		case p.Spec.NodeName == "":
			w.schedule(p)
		case exists:
			w.run(p)
		}
	}
}

// volume is the one that a pod's claim is bound to.
func (w *world) volume(p corev1.Pod) *corev1.PersistentVolume {
	var claim corev1.PersistentVolumeClaim
	var v corev1.PersistentVolume
	err := w.direct.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: claimName(w.ordinal(p))}, &claim)
	if err == nil && claim.Status.Phase == corev1.ClaimPending {
		// A change has the binder look at once, instead of within 15 s.
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, "test/looked", time.Now().String())
		_ = w.direct.Update(w.t.Context(), &claim)
	}
	if err != nil || claim.Status.Phase != corev1.ClaimBound || claim.DeletionTimestamp != nil {
		return nil
	}
	if w.direct.Get(w.t.Context(), client.ObjectKey{Name: claim.Spec.VolumeName}, &v) != nil {
		return nil
	}
	return &v
}

func (w *world) schedule(p corev1.Pod) {
	v := w.volume(p)
	if v == nil {
		return
	}
	node := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0]
	if w.direct.Get(w.t.Context(), client.ObjectKey{Name: node}, &corev1.Node{}) != nil {
		return
	}
	_ = w.direct.SubResource("binding").Create(w.t.Context(), &p, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}})
}

func (w *world) run(p corev1.Pod) {
	v := w.volume(p)
	var begun corev1.ConfigMap
	if v == nil || w.direct.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: Name}, &begun) != nil {
		return
	}
	ready := corev1.ConditionFalse
	join := corev1.ContainerStatus{Name: joinContainer, ContainerID: "containerd://" + string(p.UID)}
	existing := begun.Data[stateKey] == "existing"
	if existing && w.etcd.waits(w.ordinal(p), v.Name) {
		join.State.Running = &corev1.ContainerStateRunning{}
	} else if w.etcd.start(w.ordinal(p), v.Name, begun.Data[clusterKey], existing) {
		ready = corev1.ConditionTrue
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{join}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	_ = w.direct.Status().Update(w.t.Context(), &p)
}

// members is "all n are well, and on these nodes".
func (w *world) members(nodes ...string) func() bool {
	return func() bool {
		on := map[string]bool{}
		for _, p := range w.pods() {
			if p.DeletionTimestamp == nil && p.Spec.NodeName != "" {
				on[p.Spec.NodeName] = true
			}
		}
		for _, n := range nodes {
			if !on[n] {
				return false
			}
		}
		return w.etcd.well() == len(nodes) && len(w.etcd.members) == len(nodes) && len(on) == len(nodes)
	}
}

// TestLocal is the life of etcd in local mode, under an operator that dies after
// every third of its changes.
func TestLocal(t *testing.T) {
	w := newWorld(t, map[string]string{"local.poolLocation": "/pools"})
	w.kill = 3
	w.addNode("z")
	w.until("one node", w.members("z"))
	// The only member moves before its node is gone.
	w.addNode("a")
	w.patchNode("z", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	w.until("moved", w.members("a"))
	w.loseNode("z")
	w.addNode("b")
	w.addNode("c")
	w.until("three nodes", w.members("a", "b", "c"))

	var set appsv1.StatefulSet
	if err := w.get(t.Context(), Name, &set); err != nil {
		t.Fatal(err)
	}
	if class := set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName; class == nil || *class != LocalClass {
		t.Errorf("got the class %v", class)
	}
	for _, v := range w.volumes() {
		if path := v.Spec.HostPath.Path; !strings.HasPrefix(path, "/pools/etcd/"+Name+"-") || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
			t.Errorf("got a volume at %s, %s", path, v.Spec.PersistentVolumeReclaimPolicy)
		}
	}

	w.loseNode("b")
	w.steps(5)
	if n := len(w.etcd.members); n != 3 {
		t.Errorf("without another node a member was removed: %d are left", n)
	}
	w.addNode("d")
	w.until("replaced", w.members("a", "c", "d"))
	w.loseNode("a")
	w.addNode("e")
	w.until("the first replaced", w.members("c", "d", "e"))
	if n := len(w.volumes()); n != 3 {
		t.Errorf("%d volumes are left", n)
	}

	// Another image, after the servers, and one after another.
	w.Spec.Image, w.rolling = "etcd:2", true
	w.steps(5)
	if err := w.direct.Delete(t.Context(), &w.pods()[1]); err != nil { // as a drain does
		t.Fatal(err)
	}
	w.until("one drained", func() bool { return w.etcd.well() < 3 })
	w.until("all are there again", w.members("c", "d", "e"))
	for _, p := range w.pods() {
		if p.Spec.Containers[0].Image != "etcd:1" {
			t.Errorf("%s has the image that no server has come up with", p.Name)
		}
	}
	w.rolling = false
	least := 3
	w.until("rolled", func() bool {
		least = min(least, w.etcd.well())
		for _, p := range w.pods() {
			if p.Spec.Containers[0].Image != "etcd:2" || p.DeletionTimestamp != nil {
				return false
			}
		}
		return w.etcd.well() == 3
	})
	if least < 2 {
		t.Errorf("while it rolled %d members were well", least)
	}
}

// TestClaimIsDeleted: somebody deletes the only member's claim and its pod. Its data, on a
// directory of the node, is its again.
func TestClaimIsDeleted(t *testing.T) {
	w := newWorld(t, map[string]string{"local.poolLocation": "/pools"})
	w.kill = 3
	w.addNode("a")
	one := w.members("a")
	w.until("one node", one)
	id := w.etcd.members[0].ID
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: claimName(0)}}
	for _, o := range []client.Object{claim, &w.pods()[0]} {
		if err := w.direct.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.until("it ends", func() bool { return w.etcd.well() == 0 })
	w.until("it is there again", one)
	if got := w.etcd.members; len(got) != 1 || got[0].ID != id {
		t.Errorf("got %+v, want member %d", got, id)
	}
}

func (w *world) volumes() []corev1.PersistentVolume {
	w.t.Helper()
	var all corev1.PersistentVolumeList
	if err := w.direct.List(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	return all.Items
}

// provision makes a disk for each claim of the class disks, that of the i-th member on the i-th
// node.
func (w *world) provision() {
	w.t.Helper()
	for i := range 3 {
		var claim corev1.PersistentVolumeClaim
		if w.direct.Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: claimName(i)}, &claim) != nil || claim.Spec.VolumeName != "" || *claim.Spec.StorageClassName != "disks" {
			continue
		}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelHostname: string(rune('a' + i))}}}
		v := Spec{Namespace: namespace}.Volume(i, string(claim.UID), "/x", node, 0)
		v.Spec.StorageClassName, v.Labels = "disks", nil
		if err := w.direct.Create(w.t.Context(), v); err != nil && !apierrors.IsAlreadyExists(err) {
			w.t.Fatal(err)
		}
	}
}

// TestPVCPerNode: the class is named, others provision, and etcd stays where it was
// put.
func TestPVCPerNode(t *testing.T) {
	w := newWorld(t, map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "disks"})
	w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Provisioner: "test"})
	w.addNode("a")
	w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast-dots"}, Provisioner: specs.DriverName})
	w.data["pvcPerNode.storageClass"] = "fast-dots"
	if _, err := w.Reconcile(t.Context(), reconcile.Request{}); err == nil || !strings.Contains(err.Error(), "pvcPerNode.storageClass") {
		t.Errorf("on dotmesh's own volumes: got %v", err)
	}
	w.data["pvcPerNode.storageClass"] = "disks"
	one, three := w.members("a"), w.members("a", "b", "c")
	w.until("one", func() bool { w.provision(); return one() })
	w.data["pvcPerNode.storageClass"] = "others"
	w.addNode("b")
	w.addNode("c")
	w.until("three", func() bool { w.provision(); return three() })
	var claim corev1.PersistentVolumeClaim
	if err := w.get(t.Context(), claimName(2), &claim); err != nil || *claim.Spec.StorageClassName != "disks" {
		t.Errorf("got %v, %v", claim.Spec.StorageClassName, err)
	}
}

// TestClassIsMended: a class that gives etcd no volume can be changed, until it has one.
func TestClassIsMended(t *testing.T) {
	w := newWorld(t, map[string]string{"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "nowhere"})
	w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Provisioner: "test"})
	w.kill = 3
	w.addNode("a")
	w.until("it waits for its volume, which is told", func() bool {
		w.provision()
		w.ahead += time.Minute
		return w.wasTold(`has no volume yet, of the StorageClass "nowhere"`)
	})
	w.data["pvcPerNode.storageClass"] = "disks"
	one := w.members("a")
	w.until("one", func() bool { w.provision(); return one() })
	if class := w.set().Spec.VolumeClaimTemplates[0].Spec.StorageClassName; *class != "disks" {
		t.Errorf("the next members get %s", *class)
	}
}

// onThreeNodes plays in either mode, on nodes a, b and c.
func onThreeNodes(t *testing.T, play func(*testing.T, *world)) {
	for mode, data := range map[string]map[string]string{
		"local":      {},
		"pvcPerNode": {"storageMode": "pvcPerNode", "pvcPerNode.storageClass": "disks"},
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, data)
			w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Provisioner: "test"})
			for _, node := range []string{"a", "b", "c"} {
				w.addNode(node)
			}
			play(t, w)
		})
	}
}
