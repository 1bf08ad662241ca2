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
	api           *apiserver.Server
	client        client.Client
	cache         client.Client // the operator's
	namespace     string
	config        config.Config
	image         string
	now           time.Time
	hook          crash.Hook
	pools         *pools.Pools
	serversCameUp int // how often that was told

	mu     sync.Mutex
	events []string
	failed []string
	done   []crash.Point

	// off are machines without power; their pods do nothing, and neither does kubelet.
	off map[string]bool
	// replaced counts the machines that a node's name was given to after its first.
	replaced map[string]int
	// noEtcd has servers that start wait, and say nothing.
	noEtcd bool
	// inUse are nodes where a pod uses the pools.
	inUse map[string]bool
	// holders are who mounts the pools of a node, since its server last told of its use.
	holders map[string][]string
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
		T: t, api: api, client: c, cache: c, image: "dotmesh:1", now: time.Now(),
		off: map[string]bool{}, replaced: map[string]int{}, inUse: map[string]bool{}, holders: map[string][]string{}, badImages: map[string]bool{},
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
		Client: w.cache, Live: w.client,
		Cluster:  specs.Cluster{Namespace: w.namespace, Image: w.image, Etcd: []string{"https://etcd:2379"}},
		Settings: w, Servers: w, Events: w, Reporter: w,
		Missing:         func(context.Context) (string, error) { return "", nil },
		OnServersCameUp: func() { w.serversCameUp++ },
		Now:             func() time.Time { return w.now },
		Hook:            w.passed,
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
func (w *world) Use(_ context.Context, f func(config.Config) error) error { return f(w.config) }

func (w *world) Observed(context.Context, pools.Observation) {}

func (w *world) Failed(action string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, action)
}

func (w *world) Warning(on *corev1.ObjectReference, reason, note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on.UID == "" {
		w.Errorf("`kubectl describe` would not show the Event %s of %s %s: it has no UID", reason, on.Kind, on.Name)
	}
	w.events = append(w.events, fmt.Sprintf("%s %s %s: %s", on.Kind, on.Name, reason, note))
}

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
	n.Status.NodeInfo.BootID, n.Status.NodeInfo.SystemUUID = "boot-"+w.host(name), w.host(name)
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

func (w *world) uncordon(name string) {
	w.changeNode(name, func(n *corev1.Node) { n.Spec.Unschedulable = false })
}

// putOutOfService has a person say that a node's machine is off.
func putOutOfService(n *corev1.Node) {
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute})
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

// deleteNode deletes a node, and waits until another of its name is younger: times of the
// API have whole seconds.
func (w *world) deleteNode(name string) {
	w.Helper()
	w.must(w.client.Delete(w.Context(), w.node(name)))
	time.Sleep(1100 * time.Millisecond)
}

// replaceMachine has another machine come in the place of one, under its name; its kubelet
// takes the pods of the name for its own.
func (w *world) replaceMachine(name string) {
	w.Helper()
	w.cutPower(name)
	w.deleteNode(name)
	w.replaced[name]++
	w.addNode(name, "")
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

func (w *world) pvc(name string) *corev1.PersistentVolumeClaim {
	w.Helper()
	var pvc corev1.PersistentVolumeClaim
	w.must(w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &pvc))
	return &pvc
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

// wantBare fails unless nothing of ours is left on a node, which was the only one.
func (w *world) wantBare(node string) {
	w.Helper()
	if got := len(w.pods(specs.ComponentServer)) + len(w.pods(specs.ComponentHolder)) + len(w.guards()) + len(w.attachments("")); got != 0 {
		w.Errorf("%d pods, budgets and attachments are left", got)
	}
	if _, labelled := w.node(node).Labels[specs.LabelServer]; labelled {
		w.Error("the node has the label still")
	}
}
