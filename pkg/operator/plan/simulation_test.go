package plan

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// operator is one of two that believe to lead. It may be stopped between any two
// actions, and act on what it saw long ago.
type operator struct {
	cluster *fakeCluster
	name    string
	idle    map[types.UID]time.Time
	missing map[string]time.Time
	seen    State
	log     func(string, ...any)
}

func (o *operator) restart() { o.idle, o.missing, o.seen = map[types.UID]time.Time{}, nil, State{} }

// look observes, as package pools does.
func (o *operator) look() {
	s := o.cluster.observe(nil)
	idle := map[types.UID]time.Time{}
	for i := range s.Servers {
		server := &s.Servers[i]
		if server.Report == nil || server.Report.InUse {
			continue
		}
		since, found := o.idle[server.UID]
		if !found {
			since = s.Now
		}
		idle[server.UID], server.IdleSince = since, since
	}
	s.Missing = s.MissingSince(o.missing)
	o.idle, o.missing, o.seen = idle, s.Missing, s
}

// act does at most n of the actions that its view asks for, from any one on.
func (o *operator) act(n int, from int) error {
	if o.seen.Config.StorageMode.IsZero() {
		return nil
	}
	actions := Next(o.seen)
	for i := range min(n, len(actions)) {
		a := actions[(i+from)%len(actions)]
		err := o.cluster.apply(a)
		o.log("%s: %s: %v", o.name, a, err)
		if v := violation(""); errors.As(err, &v) {
			return v
		}
	}
	return nil
}

// events are what happens to clusters.
func (c *fakeCluster) event(log func(string, ...any)) {
	names := slices.Sorted(maps.Keys(c.nodes))
	n := c.nodes[names[c.random.IntN(len(names))]]
	pvcs, pods := slices.Sorted(maps.Keys(c.pvcs)), slices.Sorted(maps.Keys(c.pods))
	kind := c.random.IntN(30)
	log("event %d at %s", kind, n.Name)
	switch {
	case kind == 0 && len(names) < 6:
		c.addNode(c.anyZone())
	case kind == 1:
		n.Cordoned, n.ResourceVersion = !n.Cordoned, c.write()
	case kind == 2 && n.Labels["dotmesh"] == "":
		n.Labels["dotmesh"], n.ResourceVersion = "no", c.write()
	case kind <= 3:
		delete(n.Labels, "dotmesh")
		n.ResourceVersion = c.write()
	case kind <= 5 && n.on:
		c.powerOff(n)
	case kind <= 7 && !n.on && !n.OutOfService:
		n.OutOfService, n.ResourceVersion = true, c.write()
	case kind == 8 && !n.on && len(names) > 2:
		delete(c.nodes, n.Name)
	case kind <= 10 && !n.on:
		n.OutOfService = false
		c.powerOn(n)
	case kind <= 12 && len(pods) > 0:
		c.podDies(c.pods[pods[c.random.IntN(len(pods))]])
	case kind == 13:
		c.image = c.unique("dotmesh:")
	case kind == 14:
		c.config = resized(c.config)
	case kind <= 16 && len(pvcs) > 0:
		c.use(n, pvcs[c.random.IntN(len(pvcs))])
	case kind <= 18 && len(pvcs) > 0:
		p := c.pvcs[pvcs[c.random.IntN(len(pvcs))]]
		p.wanted = p.made && !c.isServed(p.Name)
	case kind == 20 || kind == 21 || kind == 22 && n.on:
		c.registerAnew(n, kind == 21)
	case kind == 23:
		c.noEtcd = !c.noEtcd
	case kind == 24:
		c.noEtcd = false
	case kind == 25 && n.on: // the server is replaced just when the node is
		for _, pod := range c.pods {
			if pod.Node == n.Name && !pod.holder {
				pod.Deleting, pod.GoneBy, pod.serves, pod.released, pod.Ready = true, c.now, false, false, false
			}
		}
		c.registerAnew(n, false)
	case kind == 26 && n.on && n.isThere():
		c.deleteNode(n)
	case kind == 27 && len(pods) > 0:
		pod := c.pods[pods[c.random.IntN(len(pods))]]
		pod.hangs = !pod.hangs
	case kind >= 28:
		c.noDetach = kind == 28
	case kind == 19 && len(pvcs) > 3 && c.random.IntN(4) == 0:
		p := c.pvcs[pvcs[c.random.IntN(len(pvcs))]]
		p.Assignment.Delete, p.ResourceVersion = true, c.write()
	}
}

// registerAnew has a machine, or another in its place, make a node of the same name; its
// kubelet takes the pods for its own. One that is on goes on.
func (c *fakeCluster) registerAnew(n *fakeNode, another bool) {
	c.now = c.now.Add(time.Second)
	if another {
		c.powerOff(n)
		n.host = c.unique("host")
		n.System = n.host
	}
	n.UID, n.Created, n.Cordoned, n.OutOfService = types.UID(c.unique("uid")), c.now, false, false
	n.Boot, n.ReadySince, n.ResourceVersion = "", c.now, c.write()
	n.since, n.back = time.Time{}, time.Time{}
	delete(n.Labels, specs.LabelServer)
	if !n.on {
		c.powerOn(n)
	}
}

func (c *fakeCluster) anyZone() string { return []string{"east", "west"}[c.random.IntN(2)] }

// podDies has a server or a holder crash, or somebody delete a server.
func (c *fakeCluster) podDies(pod *fakePod) {
	if !c.runs(pod.Node) {
		return
	}
	pod.serves, pod.released, pod.Ready = false, false, pod.holder
	switch {
	case !pod.holder && c.random.IntN(2) == 0:
		pod.Deleting, pod.GoneBy = true, c.now
	case c.random.IntN(2) == 0:
		pod.Phase, pod.Ready, pod.ResourceVersion = corev1.PodFailed, false, c.write()
	}
}

// use has pods begin or end to use a pool that is served.
func (c *fakeCluster) use(n *fakeNode, pvc string) {
	n.inUse[pvc] = n.imported[pvc] && !n.inUse[pvc] && c.isServed(pvc)
	if !n.inUse[pvc] {
		delete(n.inUse, pvc)
	}
}

func resized(c config.Config) config.Config {
	data := c.Data()
	data["pvcPerNode.pvSizePerNode"] = fmt.Sprint(c.PVCPerNode.PVSize.Bytes() + 1<<30)
	if next, _, err := config.Parse(data); err == nil {
		return next
	}
	return c
}

var seeds = flag.Int("seeds", 20, "how many clusters are simulated")

func TestSimulation(t *testing.T) {
	for seed := range uint64(*seeds) {
		if simulate(t, seed, func(string, ...any) {}) == nil {
			continue
		}
		var history []string // of the same, once more
		err := simulate(t, seed, func(format string, args ...any) {
			history = append(history, fmt.Sprintf(format, args...))
		})
		t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(history, "\n"))
	}
}

// simulate has things happen for a while, then lets the cluster come to rest.
func simulate(t *testing.T, seed uint64, log func(string, ...any)) error {
	random := rand.New(rand.NewPCG(seed, 1))
	c := newFakeCluster(t, random)
	for _, zone := range []string{"east", "east", "west"} {
		c.addNode(zone)
	}
	operators := []*operator{{cluster: c, name: "a", log: log}, {cluster: c, name: "b", log: log}}
	for range 400 {
		for _, o := range operators {
			switch random.IntN(12) {
			case 0:
				o.restart()
			case 1, 2, 3: // goes on with what it saw
			default:
				o.look()
			}
			if err := o.act(1+random.IntN(4), random.IntN(20)); err != nil {
				return err
			}
		}
		if random.IntN(3) == 0 {
			c.event(log)
		}
		if err := c.tick(false); err != nil {
			return err
		}
	}
	return c.rest(operators[0], log)
}

// rest mends the cluster, has the operator work alone, and tells what is not as it
// should be in the end.
func (c *fakeCluster) rest(o *operator, log func(string, ...any)) error {
	log("at rest")
	c.noEtcd, c.noDetach = false, false
	for _, pod := range c.pods {
		pod.hangs = false
	}
	for _, zone := range []string{"east", "west"} {
		c.addNode(zone)
	}
	for _, n := range c.nodes {
		n.Cordoned, n.OutOfService, n.ResourceVersion = false, false, c.write()
		delete(n.Labels, "dotmesh")
		clear(n.inUse)
		if !n.isThere() {
			c.registerAnew(n, false)
		}
		if !n.on {
			c.powerOn(n)
		}
	}
	for range 200 {
		for _, p := range c.pvcs {
			p.wanted = p.made && !c.isServed(p.Name)
		}
		o.look()
		if err := o.act(1000, 0); err != nil {
			return err
		}
		if err := c.tick(true); err != nil {
			return err
		}
	}
	o.look()
	for _, a := range Next(o.seen) {
		return fmt.Errorf("there is no end of it: %s", a)
	}
	return c.settled(o.seen)
}

func (c *fakeCluster) settled(s State) error {
	pools := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(c.pvcs)) {
		p := c.pvcs[name]
		if p.made && !p.Assignment.Delete && !c.isServed(name) {
			return fmt.Errorf("PVC %s is not served: %+v", name, p)
		}
		pools[p.Assignment.Node]++
	}
	for _, n := range s.Nodes {
		if pools[n.Name] == 0 || !n.isLabelled() {
			return fmt.Errorf("node %s has %d pools: %+v", n.Name, pools[n.Name], n)
		}
	}
	if r := RolloutOf(s); r != RolloutDone {
		return fmt.Errorf("rollout: %s", r)
	}
	return nil
}
