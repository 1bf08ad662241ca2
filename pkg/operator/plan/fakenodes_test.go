package plan

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// tick is what kubelets, the attach-detach controller and servers do in ten seconds,
// each maybe.
func (c *fakeCluster) tick(certainly bool) error {
	c.now = c.now.Add(10 * time.Second)
	c.comeBack()
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		if n := c.nodes[name]; n.on && n.Boot != n.boot && (certainly || c.random.IntN(3) > 0) {
			n.Boot, n.ResourceVersion = n.boot, c.write()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.pods)) {
		if !certainly && c.random.IntN(3) == 0 {
			continue
		}
		if err := c.kubelet(c.pods[name]); err != nil {
			return err
		}
	}
	c.detach()
	return c.check()
}

// deleteNode has somebody delete the Node of a machine that goes on. Its kubelet makes it
// anew within less than the operator waits for.
func (c *fakeCluster) deleteNode(n *fakeNode) {
	n.since, n.back = c.now, c.now.Add(time.Duration(1+c.random.IntN(10))*10*time.Second)
}

// comeBack has kubelets make their Nodes anew. After 40 s Kubernetes has deleted the pods.
func (c *fakeCluster) comeBack() {
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		n := c.nodes[name]
		if !n.isThere() && c.now.Sub(n.since) > 40*time.Second {
			maps.DeleteFunc(c.pods, func(_ string, pod *fakePod) bool { return pod.Node == name && pod.Phase != corev1.PodPending })
		}
		if !n.isThere() && !c.now.Before(n.back) {
			c.registerAnew(n, false)
		}
	}
}

// kubelet takes a pod a step further.
func (c *fakeCluster) kubelet(pod *fakePod) error {
	n, p := c.nodes[pod.Node], c.pvcs[pod.PVC]
	switch {
	case !c.runs(pod.Node):
		pod.Ready = false
		return nil
	case !n.isThere():
		return nil // it is not there either
	case pod.Deleting && pod.hangs:
		return nil
	case pod.Deleting:
		delete(c.pods, pod.Name)
		return nil
	case pod.Phase == corev1.PodPending:
		c.start(pod, n, p)
		return nil
	case pod.holder && pod.Phase == corev1.PodRunning:
		if runs := c.attached[p.Volume].host == n.host; pod.Ready != runs {
			pod.Ready, pod.ResourceVersion = runs, c.write()
		}
		return nil
	case pod.holder || pod.Phase != corev1.PodRunning || pod.serves || pod.released || c.noEtcd:
		return nil
	}
	return c.serve(pod, n, p)
}

// start binds the PVC and attaches its volume, to one node at a time.
func (c *fakeCluster) start(pod *fakePod, n *fakeNode, p *fakePVC) {
	if p.Deleting {
		return
	}
	if p.Volume == "" {
		p.Volume, p.Reach.Zone, p.ResourceVersion = "pv-"+p.Name, n.zone(), c.write()
	}
	if p.Reach.Zone != n.zone() {
		return
	}
	if on, found := c.attached[p.Volume]; !found {
		c.attached[p.Volume] = fakeAttachment{Attachment{"va-" + p.Name, p.Volume, pod.Node, c.now}, n.host}
	} else if on.host != n.host {
		return // a disk that an earlier machine of the name had never comes
	}
	pod.Phase, pod.Ready, pod.WasReady, pod.ResourceVersion = corev1.PodRunning, pod.holder, pod.holder, c.write()
}

// serve is the server's start: it asks the registry, then it imports.
func (c *fakeCluster) serve(pod *fakePod, n *fakeNode, p *fakePVC) error {
	claim := c.registry[p.UID]
	if c.attached[p.Volume].host != n.host {
		return nil // its pod was an earlier machine's, which had the disk
	}
	if claim.generation > pod.Generation {
		return nil // it refuses, for ever
	}
	if claim == (fakeClaim{pod.Generation, true}) {
		pod.released = true // it knows from the registry
		return nil
	}
	if !n.imported[p.Name] {
		if p.made && !p.exported && p.last != n.host && !pod.takeOver {
			return nil // it waits for what the operator does not give: see check
		}
		for _, other := range c.nodes {
			if other.on && other.imported[p.Name] {
				return violated("PVC %s: %s imports the pool that %s has", p.Name, n.Name, other.Name)
			}
		}
	}
	c.registry[p.UID] = fakeClaim{generation: pod.Generation}
	n.imported[p.Name] = true
	p.made, p.exported, p.last, p.wanted = true, false, n.host, false
	pod.serves, pod.Ready, pod.WasReady = true, true, true
	return nil
}

// detach frees the volumes that no pod has. A kubelet does not let go of a device
// that its kernel uses; a machine that is off is asked no more.
func (c *fakeCluster) detach() {
	for volume, on := range c.attached {
		pvc, n := volume[len("pv-"):], c.nodes[on.Node]
		used := c.runs(on.Node) && n.imported[pvc]
		for _, pod := range c.pods {
			used = used || (pod.PVC == pvc && pod.Node == on.Node)
		}
		if !used && !c.noDetach && (n == nil || n.on || n.OutOfService) {
			delete(c.attached, volume)
		}
	}
}

// check is what holds at any time.
func (c *fakeCluster) check() error {
	serving := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		n := c.nodes[name]
		for pvc := range n.imported {
			if other, found := serving[pvc]; found && n.on {
				return violated("PVC %s: nodes %s and %s both have the pool imported", pvc, other, name)
			}
			if n.on {
				serving[pvc] = name
			}
			if n.on && n.isThere() && !c.isNew(n) && n.Labels["dotmesh.io/server"] != "true" {
				return violated("node %s has a pool and no label", name)
			}
		}
	}
	for _, pod := range c.pods {
		if claim := c.registry[c.pvcs[pod.PVC].UID]; pod.serves && c.runs(pod.Node) && (claim.released || claim.generation != pod.Generation) {
			return violated("PVC %s: %s serves generation %d, the registry has %+v", pod.PVC, pod.Name, pod.Generation, claim)
		}
	}
	return nil
}

// powerOff is the machine's end, or the beginning of its restart.
func (c *fakeCluster) powerOff(n *fakeNode) {
	n.on, n.Ready, n.ResourceVersion = false, false, c.write()
	clear(n.imported)
	clear(n.inUse)
	for _, pod := range c.pods {
		if pod.Node == n.Name {
			pod.serves, pod.released, pod.Ready, pod.hangs = false, false, false, false
		}
	}
}

// powerOn has kubelet start its pods anew. Those that were to go, go.
func (c *fakeCluster) powerOn(n *fakeNode) {
	n.boot = c.unique("boot")
	n.on, n.Ready, n.ReadySince, n.ResourceVersion = true, true, c.now, c.write()
}
