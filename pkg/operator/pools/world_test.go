//go:build apiserver

package pools_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/pools"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
	"github.com/dotmesh-io/dotmesh-csi/test/apiserver"
)

// step is how much time of the world passes between two looks at it.
const step = 10 * time.Second

// world is a namespace of a real API server, and around it what such a server does
// not have. It plays, through the API, the scheduler, kubelets, the controllers that
// bind and attach volumes, and the cloud's disks; and it answers for the servers,
// with a model of pools that knows which kernel has which imported. What must never
// happen fails the test at once.
type world struct {
	*testing.T
	api       *apiserver.Server
	client    client.Client
	namespace string
	config    config.Config
	image     string
	now       time.Time
	hook      crash.Hook
	pools     *pools.Pools

	mu     sync.Mutex
	events []string
	done   []crash.Point

	// off are machines without power; their pods do nothing, and neither does kubelet.
	off map[string]bool
	// replaced counts the machines that a node's name was given to after its first.
	replaced map[string]int
	// inUse are nodes where a pod uses the pools.
	inUse map[string]bool
	// wanted are GUIDs that attaches wait for.
	wanted []string
	// badImages cannot be pulled.
	badImages map[string]bool
	// disks are the pools, by the PVC's UID.
	disks map[string]*disk
	// servers are those that run, by address.
	servers map[string]*corev1.Pod
	lastIP  byte
}

func newWorld(t *testing.T, api *apiserver.Server, c client.Client, data map[string]string) *world {
	t.Helper()
	w := &world{
		T: t, api: api, client: c, image: "dotmesh:1", now: time.Now(),
		off: map[string]bool{}, replaced: map[string]int{}, inUse: map[string]bool{}, badImages: map[string]bool{},
		disks: map[string]*disk{}, servers: map[string]*corev1.Pod{},
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "dotmesh-"}}
	w.must(c.Create(t.Context(), ns))
	w.namespace = ns.Name
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: w.named("dotmesh")},
		&corev1.ConfigMap{ObjectMeta: w.named(specs.SettingsName)},
	} {
		w.must(c.Create(t.Context(), o))
	}
	w.configure(data)
	w.restart()
	t.Cleanup(w.clear)
	return w
}

// clear removes what other worlds would see.
func (w *world) clear() {
	ctx := context.Background()
	_ = w.client.DeleteAllOf(ctx, &corev1.Node{})
	_ = w.client.DeleteAllOf(ctx, &storagev1.VolumeAttachment{})
	_ = w.client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.GracePeriodSeconds(0))
}

// restart is an operator that knows nothing.
func (w *world) restart() { w.pools = w.operator() }

func (w *world) operator() *pools.Pools {
	return pools.New(pools.Config{
		Client: w.client, Live: w.client,
		Cluster:  specs.Cluster{Namespace: w.namespace, Image: w.image, Etcd: []string{"https://etcd:2379"}},
		Settings: w, Servers: w, Events: w, Reporter: w,
		Missing: func(context.Context) (string, error) { return "", nil },
		Now:     func() time.Time { return w.now },
		Hook:    w.passed,
	})
}

// passed remembers what was done, by whichever operator.
func (w *world) passed(ctx context.Context, p crash.Point) {
	w.mu.Lock()
	w.done = append(w.done, p)
	w.mu.Unlock()
	w.hook.Pass(ctx, p)
}

func (w *world) configure(data map[string]string) {
	w.Helper()
	c, _, err := config.Parse(data)
	w.must(err)
	w.config = c
}

// Use is what Settings do.
func (w *world) Use(f func(config.Config) error) error { return f(w.config) }

func (w *world) Observed(context.Context, pools.Observation) {}
func (w *world) Failed(action string)                        { w.Logf("failed: %s", action) }

func (w *world) Warning(on *corev1.ObjectReference, reason, note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s %s %s: %s", on.Kind, on.Name, reason, note))
}

func (w *world) Normal(on *corev1.ObjectReference, reason, note string) { w.Warning(on, reason, note) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name}
}

// addNode adds a machine that is on.
func (w *world) addNode(name, zone string) {
	w.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
	if zone != "" {
		n.Labels[corev1.LabelTopologyZone] = zone
	}
	w.must(w.client.Create(w.Context(), n))
	w.changeNode(name, func(n *corev1.Node) { n.Spec.Taints = nil })
	n = w.node(name)
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	w.must(w.client.Status().Update(w.Context(), n))
}

func (w *world) node(name string) *corev1.Node {
	w.Helper()
	var n corev1.Node
	w.must(w.client.Get(w.Context(), client.ObjectKey{Name: name}, &n))
	return &n
}

func (w *world) changeNode(name string, change func(*corev1.Node)) {
	w.Helper()
	n := w.node(name)
	change(n)
	w.must(w.client.Update(w.Context(), n))
}

func (w *world) cordon(name string) {
	w.changeNode(name, func(n *corev1.Node) { n.Spec.Unschedulable = true })
}

// cutPower stops a machine; what its kernel had imported is not exported.
func (w *world) cutPower(name string) {
	w.off[name] = true
	for _, d := range w.disks {
		if d.importedOn == name {
			d.importedOn = ""
		}
	}
}

// host is a machine's hostid.
func (w *world) host(node string) string { return fmt.Sprint(node, "-", w.replaced[node]) }

// host, on a VolumeAttachment, is the machine that has the disk: an attacher is told a
// node's name alone.
const host = "world.test/host"

// replaceMachine has another machine come in the place of one, under its name; its kubelet
// takes the pods of the name for its own.
func (w *world) replaceMachine(name string) {
	w.Helper()
	w.cutPower(name)
	w.must(w.client.Delete(w.Context(), w.node(name)))
	time.Sleep(1100 * time.Millisecond) // times of the API have whole seconds
	w.addNode(name, "")
	w.replaced[name]++
	w.off[name] = false
}

// round does one of the operator, which may be killed in it.
func (w *world) round() (done, wasKilled bool) {
	w.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != killed {
				panic(r)
			}
			wasKilled = true
		}
	}()
	done, err := w.pools.Round(w.Context())
	w.must(err)
	return done, false
}

// killed is what the operator panics with where a test kills it.
const killed = "the operator was killed"

// settle lets operator and world act until both rest, also after longer than the
// operator waits for anything but a dead node.
func (w *world) settle() {
	w.Helper()
	const longer = 70 * time.Second
	rest := []time.Duration{step, step, longer, step, step}
	for calm, steps := 0, 0; calm < len(rest); steps++ {
		if steps > 300 {
			w.Fatalf("the world does not come to rest; the last actions: %v", w.done[max(0, len(w.done)-20):])
		}
		before := len(w.done)
		_, wasKilled := w.round()
		if wasKilled {
			w.restart()
		}
		if w.play() || wasKilled || w.acted(before) {
			calm = 0
		}
		w.now = w.now.Add(rest[calm])
		calm++
	}
}

// acted tells whether the operator did more than to warn, or to ask for what is
// refused, since it had done so many actions.
func (w *world) acted(since int) bool {
	return slices.ContainsFunc(w.done[since:], func(p crash.Point) bool { return p != "pools.warn.after" && p != "pools.release.after" })
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.Helper()
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(step) {
		if _, wasKilled := w.round(); wasKilled {
			w.restart()
		}
		w.play()
	}
}

// play does once what is not the operator's, and tells whether there was anything.
func (w *world) play() bool {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	changed := false
	for i := range all.Items {
		pod := &all.Items[i]
		switch {
		case pod.DeletionTimestamp != nil:
			changed = w.kill(pod) || changed
		case pod.Spec.NodeName == "":
			changed = w.schedule(pod) || changed
		case pod.Status.Phase == corev1.PodPending:
			changed = w.run(pod) || changed
		}
	}
	changed = w.detach() || changed
	w.serve()
	return changed
}

// schedule gives a pod to the node that it is for, and binds its PVC there.
func (w *world) schedule(pod *corev1.Pod) bool {
	w.Helper()
	name := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
	var n corev1.Node
	if err := w.client.Get(w.Context(), client.ObjectKey{Name: name}, &n); err != nil || w.off[name] {
		return false
	}
	if pvc := w.claimOf(pod); pvc != nil {
		if pvc.DeletionTimestamp != nil {
			return false // as the scheduler's VolumeBinding
		}
		w.bindVolume(pvc, &n)
	}
	w.must(w.client.SubResource("binding").Create(w.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: name}}))
	return true
}

func (w *world) claimOf(pod *corev1.Pod) *corev1.PersistentVolumeClaim {
	w.Helper()
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return w.pvc(v.PersistentVolumeClaim.ClaimName)
		}
	}
	return nil
}

func (w *world) pvc(name string) *corev1.PersistentVolumeClaim {
	w.Helper()
	var pvc corev1.PersistentVolumeClaim
	w.must(w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &pvc))
	return &pvc
}

// bindVolume makes a PersistentVolume in the node's zone for a PVC that has none.
func (w *world) bindVolume(pvc *corev1.PersistentVolumeClaim, n *corev1.Node) {
	w.Helper()
	if pvc.Spec.VolumeName != "" {
		return
	}
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + string(pvc.UID)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: *pvc.Spec.Resources.Requests.Storage()},
			AccessModes: pvc.Spec.AccessModes, VolumeMode: pvc.Spec.VolumeMode, StorageClassName: *pvc.Spec.StorageClassName,
			ClaimRef:                      &corev1.ObjectReference{Namespace: pvc.Namespace, Name: pvc.Name, UID: pvc.UID},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.test", VolumeHandle: string(pvc.UID)}},
		},
	}
	if zone := n.Labels[corev1.LabelTopologyZone]; zone != "" {
		pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}},
		}}}}
	}
	w.must(w.client.Create(w.Context(), pv))
	pvc.Spec.VolumeName = pv.Name
	w.must(w.client.Update(w.Context(), pvc))
	pvc.Status.Phase, pvc.Status.Capacity = corev1.ClaimBound, pv.Spec.Capacity
	w.must(w.client.Status().Update(w.Context(), pvc))
}

// run starts a pod whose volume can be attached.
func (w *world) run(pod *corev1.Pod) bool {
	w.Helper()
	if w.off[pod.Spec.NodeName] {
		return false
	}
	if pvc := w.claimOf(pod); pvc != nil && !w.attach(pvc.Spec.VolumeName, pod.Spec.NodeName) {
		return false
	}
	if image := pod.Spec.Containers[0].Image; w.badImages[image] {
		if len(pod.Status.ContainerStatuses) > 0 {
			return false
		}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: pod.Spec.Containers[0].Name, Image: image, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"},
		}}}
		w.must(w.client.Status().Update(w.Context(), pod))
		return true
	}
	w.lastIP++
	pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, fmt.Sprintf("10.99.0.%d", w.lastIP)
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	if pod.Labels[specs.LabelComponent] == specs.ComponentHolder || w.importPool(pod) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
	}
	w.must(w.client.Status().Update(w.Context(), pod))
	return true
}

func (w *world) attachments(volume string) []storagev1.VolumeAttachment {
	w.Helper()
	var all storagev1.VolumeAttachmentList
	w.must(w.client.List(w.Context(), &all))
	return slices.DeleteFunc(all.Items, func(a storagev1.VolumeAttachment) bool {
		return volume != "" && *a.Spec.Source.PersistentVolumeName != volume
	})
}

// attach attaches a disk, which one machine can have at a time.
func (w *world) attach(volume, node string) bool {
	w.Helper()
	if have := w.attachments(volume); len(have) > 0 {
		return len(have) == 1 && have[0].Spec.NodeName == node && have[0].Annotations[host] == w.host(node)
	}
	a := &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csi-", Annotations: map[string]string{host: w.host(node)}},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: "disk.test", NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}},
	}
	w.must(w.client.Create(w.Context(), a))
	return true
}

// detach detaches what no pod of the node has any more. A disk that goes while the
// machine's kernel has its pool imported is what the holder is there to prevent.
func (w *world) detach() bool {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	changed := false
	for _, a := range w.attachments("") {
		volume := *a.Spec.Source.PersistentVolumeName
		if slices.ContainsFunc(all.Items, func(pod corev1.Pod) bool {
			pvc := w.claimOf(&pod)
			return pvc != nil && pvc.Spec.VolumeName == volume && pod.Spec.NodeName == a.Spec.NodeName
		}) {
			continue
		}
		if d := w.disks[strings.TrimPrefix(volume, "pv-")]; d != nil && d.importedOn == a.Spec.NodeName {
			w.Fatalf("the disk of %s was taken from node %s with its pool imported", volume, a.Spec.NodeName)
		}
		w.must(w.client.Delete(w.Context(), &a))
		changed = true
	}
	return changed
}

// kill ends a pod that is being deleted, as its kubelet does.
func (w *world) kill(pod *corev1.Pod) bool {
	w.Helper()
	if pod.Spec.NodeName != "" && w.off[pod.Spec.NodeName] {
		return false
	}
	w.must(client.IgnoreNotFound(w.client.Delete(w.Context(), pod, client.GracePeriodSeconds(0))))
	return true
}

// assigned is node → PVC.
func (w *world) assigned() map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, pvc := range w.pvcs() {
		if node := pvc.Annotations[specs.AnnotationNode]; node != "" {
			all[node] = pvc.Name
		}
	}
	return all
}

func (w *world) pvcs() []corev1.PersistentVolumeClaim {
	w.Helper()
	var all corev1.PersistentVolumeClaimList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	return all.Items
}

func (w *world) pods(component string) []corev1.Pod {
	w.Helper()
	var all corev1.PodList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace), client.MatchingLabels{specs.LabelComponent: component}))
	return all.Items
}

// serving is which nodes have a server that has its pool imported, and of which PVC.
func (w *world) serving() map[string][]string {
	w.Helper()
	all := map[string][]string{}
	for _, pod := range w.pods(specs.ComponentServer) {
		d, _ := w.diskOf(&pod)
		if pod.DeletionTimestamp == nil && d.importedOn == pod.Spec.NodeName && d.generation == number(arguments(&pod)["--pool-generation"]) {
			all[pod.Spec.NodeName] = append(all[pod.Spec.NodeName], pod.Annotations[specs.AnnotationPVCName])
		}
	}
	return all
}

func (w *world) wantServing(want map[string][]string) {
	w.Helper()
	if got := w.serving(); !maps.EqualFunc(got, want, slices.Equal) {
		w.Errorf("nodes serve %v, want %v", got, want)
	}
}

func (w *world) wantEvent(parts ...string) {
	w.Helper()
	if !slices.ContainsFunc(w.events, func(e string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(e, part) })
	}) {
		w.Errorf("no Event tells %q; there are %q", parts, w.events)
	}
}

func (w *world) guards() []string {
	w.Helper()
	var all policyv1.PodDisruptionBudgetList
	w.must(w.client.List(w.Context(), &all, client.InNamespace(w.namespace)))
	var names []string
	for _, g := range all.Items {
		names = append(names, g.Name)
	}
	return names
}

// standard is the class that PVCs name.
func standard(t *testing.T, c client.Client) {
	t.Helper()
	yes := true
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "standard"}, Provisioner: "disk.test", AllowVolumeExpansion: &yes}
	if err := c.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
}

func requested(pvc corev1.PersistentVolumeClaim) resource.Quantity {
	return *pvc.Spec.Resources.Requests.Storage()
}
