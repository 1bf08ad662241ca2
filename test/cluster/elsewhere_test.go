//go:build zfs

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot/crash"
)

// volumesByTheWrongServer: a volume's whole life on one node, asked of the others.
func volumesByTheWrongServer(t *testing.T, m members) {
	ctx, on := t.Context(), m[0].node
	v, err := m[1].create(ctx, "wrong", "wrong", on)
	must(t, err)
	again, err := m[2].create(ctx, "wrong", "wrong", on)
	must(t, err)
	joined, err := m[2].create(ctx, "joins", "wrong")
	must(t, err)
	if again.GetId() != v.GetId() || joined.GetDotId() != v.GetDotId() {
		t.Errorf("got %v, %v and %v", v, again, joined)
	}
	_, err = m[1].create(ctx, "joins far", "wrong", m[1].node)
	refused(t, "joining for a pod on another node", err, dot.CodeExhausted, "is on node node-a")
	refused(t, "one CSI name for another dot", only(m[1].createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: "wrong", DotName: "another"})), dot.CodeExists, "another dot")

	snapshot := func(via *member) *dotmeshv1.Snapshot {
		t.Helper()
		res, err := call(ctx, via.api.Volumes.CreateSnapshot, &dotmeshv1.CreateSnapshotRequest{CsiName: "snap", Volume: v.GetId(), Message: "by " + via.node})
		must(t, err)
		return res.GetSnapshot()
	}
	s := snapshot(m[1])
	if s.GetHandle() != snapshot(m[2]).GetHandle() || s.GetHandle() != snapshot(m[0]).GetHandle() {
		t.Error("one CSI name gave several snapshots")
	}
	for _, via := range m {
		restored, err := via.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: "restored by " + via.node, SourceSnapshot: s.GetHandle()})
		must(t, err)
		cloned, err := via.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: "cloned by " + via.node, SourceVolume: v.GetId(), PreferredNodes: []string{m[2].node, on}})
		must(t, err)
		if restored.GetNode() != on || cloned.GetNode() != on {
			t.Errorf("asked of %s, what is made of a dot on %s is on %s and %s", via.node, on, restored.GetNode(), cloned.GetNode())
		}
		_, err = via.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: "far from " + via.node, SourceSnapshot: s.GetHandle(), PreferredNodes: []string{m[1].node}})
		refused(t, "a restore for a pod on another node", err, dot.CodeExhausted, "is on node node-a")
	}
	expanded, err := call(ctx, m[2].api.Volumes.ExpandVolume, &dotmeshv1.ExpandVolumeRequest{Volume: v.GetId(), RequiredBytes: 2 * volumeSize})
	must(t, err)
	if expanded.GetSizeBytes() != 2*volumeSize {
		t.Errorf("got %d bytes", expanded.GetSizeBytes())
	}
	publishByTheWrongServer(t, m, v.GetId())
	for _, via := range m {
		_, err := call(ctx, via.api.Volumes.DeleteSnapshot, &dotmeshv1.DeleteSnapshotRequest{Handle: s.GetHandle()})
		must(t, err)
		_, err = call(ctx, via.api.Volumes.DeleteVolume, &dotmeshv1.DeleteVolumeRequest{Volume: v.GetId()})
		must(t, err)
	}
	left, err := call(ctx, m[1].api.Volumes.GetVolume, &dotmeshv1.GetVolumeRequest{Volume: joined.GetId()})
	must(t, err)
	if left.GetVolume().GetNode() != on {
		t.Errorf("the other claim on the dot is %v", left)
	}
}

// publishByTheWrongServer: also by a handle that was written by hand, whose claim
// ends with its last publication.
func publishByTheWrongServer(t *testing.T, m members, volume string) {
	ctx := t.Context()
	publish := func(via *member, handle, node string) error {
		return only(call(ctx, via.api.Volumes.PublishVolume, &dotmeshv1.PublishVolumeRequest{Volume: handle, Node: node}))
	}
	unpublish := func(via *member, handle, node string) error {
		return only(call(ctx, via.api.Volumes.UnpublishVolume, &dotmeshv1.UnpublishVolumeRequest{Volume: handle, Node: node}))
	}
	for _, handle := range []string{volume, "admin/wrong"} {
		for _, via := range m {
			refused(t, "publishing elsewhere", publish(via, handle, m[1].node), dot.CodePrecondition, "is on node node-a; pods that use it must run there")
			must(t, publish(via, handle, m[0].node))
			if handle == volume {
				refused(t, "deleting what is published", only(deleteVolume(ctx, via, volume)), dot.CodePrecondition, "node-a")
			}
			must(t, unpublish(via, handle, m[0].node))
			must(t, unpublish(via, handle, "node-x"))
			if handle != volume {
				break // the claim goes in the background, and is asked for below
			}
			must(t, publish(via, handle, m[0].node))
			must(t, unpublish(m[1], handle, m[0].node))
		}
	}
	must(t, publish(m[1], "admin/wrong", m[0].node))
	must(t, unpublish(m[1], "admin/wrong", m[0].node))
	m.gone(t, "the claim of a handle written by hand", "admin/wrong@master.__default__")
}

// buried waits until nothing is left of a dot that was deleted: its datasets go in the
// background, before its record does.
func (m members) buried(t *testing.T, d *dotmeshv1.Dot) {
	t.Helper()
	eventually(t, "the dot "+d.GetName()+" is gone", func() error {
		if keys := m[0].site.registry(t, "dots/"+d.GetId()); len(keys) > 0 {
			return fmt.Errorf("there is %v", keys)
		}
		return nil
	})
}

// gone waits until no volume has a handle.
func (m members) gone(t *testing.T, what, handle string) {
	t.Helper()
	eventually(t, what+" is gone", func() error {
		all, err := call(t.Context(), m[2].api.Volumes.ListVolumes, &dotmeshv1.ListVolumesRequest{})
		for _, v := range all.GetVolumes() {
			if v.GetId() == handle {
				return fmt.Errorf("%v is still there", v)
			}
		}
		return err
	})
}

// dmByTheWrongServer: what a person does with a dot, each command at another server.
func dmByTheWrongServer(t *testing.T, m members) {
	ctx := t.Context()
	made, err := call(ctx, m[2].api.Dots.CreateDot, &dotmeshv1.CreateDotRequest{Dot: "mine", ShareWith: []string{"shop"}})
	must(t, err)
	on := made.GetDot().GetBranches()[0].GetMasterNode()
	if on == m[2].node {
		t.Error("a new dot is on the pool with least room")
	}
	_, err = call(ctx, m[1].api.Dots.CreateDot, &dotmeshv1.CreateDotRequest{Dot: "mine"})
	refused(t, "a dot of that name", err, dot.CodeExists, "admin/mine")
	var first string
	for _, via := range m {
		c, err := call(ctx, via.api.Dots.Commit, &dotmeshv1.CommitRequest{Dot: "mine", Message: "by " + via.node, IdempotencyKey: "key"})
		must(t, err)
		if first == "" {
			first = c.GetCommit().GetId()
		}
		if c.GetCommit().GetId() != first || c.GetCommit().GetAuthor() != "admin" || c.GetCommit().GetMessage() != "by node-a" {
			t.Errorf("the retry of a commit made %v", c.GetCommit())
		}
	}
	var wrong *member
	for _, via := range m {
		if via.node != on {
			wrong = via
		}
		must(t, only(call(ctx, via.api.Dots.ShareDot, &dotmeshv1.ShareDotRequest{Dot: "mine", Share: []string{via.node}})))
	}
	must(t, only(call(ctx, wrong.api.Dots.CreateBranch, &dotmeshv1.CreateBranchRequest{Dot: "mine", Name: "b"})))
	must(t, only(call(ctx, wrong.api.Dots.ResetBranch, &dotmeshv1.ResetBranchRequest{Dot: "mine", Branch: "b", Commit: first})))
	for _, via := range m {
		shown, err := call(ctx, via.api.Dots.GetDot, &dotmeshv1.GetDotRequest{Dot: "mine"})
		must(t, err)
		log, err := call(ctx, via.api.Dots.ListCommits, &dotmeshv1.ListCommitsRequest{Dot: "mine"})
		must(t, err)
		if d := shown.GetDot(); len(d.GetBranches()) != 2 || len(d.GetSharedWith()) != 1+nodes || len(log.GetCommits()) != 1 {
			t.Errorf("%s: got %v, %v", via.node, d, log)
		}
		eventually(t, via.node+" tells how much each dot takes", func() error { // each server has little time
			shown, err1 := call(ctx, via.api.Dots.GetDot, &dotmeshv1.GetDotRequest{Dot: "mine"})
			list, err2 := call(ctx, via.api.Dots.ListDots, &dotmeshv1.ListDotsRequest{})
			for _, d := range append(list.GetDots(), shown.GetDot()) {
				for _, b := range d.GetBranches() {
					if b.GetUsedBytes() == 0 || !strings.HasPrefix(b.GetMasterNode(), "node-") {
						return fmt.Errorf("of %s/%s: %v", d.GetName(), b.GetName(), b)
					}
				}
			}
			return errors.Join(err1, err2)
		})
	}
	must(t, only(call(ctx, wrong.api.Dots.DeleteDot, &dotmeshv1.DeleteDotRequest{Dot: "mine"})))
	m.buried(t, made.GetDot())
}

// retryElsewhere breaks a call at each point that the server of the dot passes, the
// connection being lost, and asks another server again.
func retryElsewhere(t *testing.T, m members) {
	source, err := m[0].create(t.Context(), "stepped", "stepped", m[0].node)
	must(t, err)
	type step = func(ctx context.Context, via *member, try int) (string, error)
	for what, c := range map[string]struct {
		made int // datasets; of a clone also the snapshot that it begins at
		call step
	}{
		"create": {1, func(ctx context.Context, via *member, try int) (string, error) {
			v, err := via.create(ctx, fmt.Sprintf("create-%d", try), "", m[0].node)
			return v.GetId(), err
		}},
		"clone": {2, func(ctx context.Context, via *member, try int) (string, error) {
			v, err := via.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: fmt.Sprintf("clone-%d", try), SourceVolume: source.GetId()})
			return v.GetId(), err
		}},
	} {
		before := m.datasets(t)
		steps := breakEach(t, m, what, c.made, c.call)
		if steps < 3 {
			t.Errorf("%s was broken at %d steps, want at least before its record, on the pool, and before it is ready", what, steps)
		}
		breakEach(t, m, "delete of a "+what, 0, func(ctx context.Context, via *member, try int) (string, error) {
			id := dot.VolumeIDOf(fmt.Sprintf("%s-%d", what, try)).String()
			return "", only(deleteVolume(ctx, via, id))
		})
		for try := range steps + 1 {
			must(t, only(deleteVolume(t.Context(), m[2], dot.VolumeIDOf(fmt.Sprintf("%s-%d", what, try)).String())))
		}
		eventually(t, "nothing is left of each "+what, func() error {
			if left := m.datasets(t) - before; left != 0 {
				return fmt.Errorf("%d datasets are", left)
			}
			return nil
		})
	}
	steps := breakEach(t, m, "snapshot", 0, func(ctx context.Context, via *member, try int) (string, error) {
		s, err := call(ctx, via.api.Volumes.CreateSnapshot, &dotmeshv1.CreateSnapshotRequest{CsiName: fmt.Sprintf("snap-%d", try), Volume: source.GetId()})
		return s.GetSnapshot().GetHandle(), err
	})
	if steps < 3 {
		t.Errorf("a snapshot was broken at %d steps", steps)
	}
	list, err := call(t.Context(), m[2].api.Volumes.ListSnapshots, &dotmeshv1.ListSnapshotsRequest{Volume: source.GetId()})
	must(t, err)
	if got := len(list.GetSnapshots()); got != steps+1 {
		t.Errorf("%d snapshots are listed, want the %d that were asked for", got, steps+1)
	}
}

func deleteVolume(ctx context.Context, via *member, id string) (*dotmeshv1.DeleteVolumeResponse, error) {
	return call(ctx, via.api.Volumes.DeleteVolume, &dotmeshv1.DeleteVolumeRequest{Volume: id})
}

// breakEach breaks the first try of a call at the first step, of the next at the
// second, and so on until one comes through, and gives how many steps there were.
// made is by how many datasets each call changes what the pools hold.
func breakEach(t *testing.T, m members, what string, made int, step func(context.Context, *member, int) (string, error)) int {
	t.Helper()
	for try := range 40 {
		before := m.datasets(t)
		ctx, lose := context.WithCancel(t.Context())
		var passed atomic.Int32
		hook := crash.Hook(func(at context.Context, p crash.Point) {
			if strings.Contains(string(p), "lease-") {
				return
			}
			if int(passed.Add(1)) != try+1 {
				return
			}
			lose()
			select { // the server learns of it soon, if the call is what passes here
			case <-at.Done():
			case <-time.After(time.Second):
			}
		})
		m[0].hook.Store(&hook)
		_, err := step(ctx, m[1], try)
		m[0].hook.Store(nil)
		lose()
		if int(passed.Load()) <= try {
			must(t, err)
			return try
		}
		id, err := retried(func() (string, error) { return step(t.Context(), m[2], try) })
		if err != nil {
			t.Errorf("%s, broken at step %d, asked again of another server: %v", what, try, err)
			continue
		}
		same, err := retried(func() (string, error) { return step(t.Context(), m[0], try) })
		if err != nil || same != id {
			t.Errorf("%s, broken at step %d: got %q and then %q, %v", what, try, id, same, err)
		}
		if got := m.datasets(t) - before; made > 0 && got != made {
			t.Errorf("%s, broken at step %d, made %d datasets, want %d", what, try, got, made)
		}
	}
	t.Errorf("%s: never came through", what)
	return 0
}

// only drops an answer.
func only[R any](_ R, err error) error { return err }

// oneIsAway: what lies on it says so, unpublishing and lists go on, new dots go
// elsewhere, and the server is found again at another address.
func oneIsAway(t *testing.T, m members) {
	ctx := t.Context()
	v, err := m[1].create(ctx, "away", "away", m[0].node)
	must(t, err)
	for _, handle := range []string{v.GetId(), "admin/away"} {
		must(t, only(call(ctx, m[2].api.Volumes.PublishVolume, &dotmeshv1.PublishVolumeRequest{Volume: handle, Node: m[0].node})))
	}
	must(t, m[0].stop())
	via := m[1]
	const says = "on node node-a"
	for what, call := range map[string]func() error{
		"snapshot": func() error {
			return only(call(ctx, via.api.Volumes.CreateSnapshot, &dotmeshv1.CreateSnapshotRequest{CsiName: "of-away", Volume: v.GetId()}))
		},
		"expand": func() error {
			return only(call(ctx, via.api.Volumes.ExpandVolume, &dotmeshv1.ExpandVolumeRequest{Volume: v.GetId(), RequiredBytes: 2 * volumeSize}))
		},
		"clone": func() error {
			return only(via.createFrom(ctx, &dotmeshv1.CreateVolumeRequest{CsiName: "of-away", SourceVolume: v.GetId()}))
		},
		"join":            func() error { return only(via.create(ctx, "joins-away", "away")) },
		"a new dot there": func() error { return only(via.create(ctx, "new-away", "", m[0].node)) },
		"dm commit": func() error {
			return only(call(ctx, via.api.Dots.Commit, &dotmeshv1.CommitRequest{Dot: "away", Message: "m"}))
		},
	} {
		refused(t, what, call(), dot.CodeUnavailable, says)
	}
	// The scheduler is to send no pod there meanwhile.
	room, err := call(ctx, via.api.Volumes.GetCapacity, &dotmeshv1.GetCapacityRequest{Node: m[0].node})
	must(t, err)
	if room.GetAvailableBytes() != 0 {
		t.Errorf("%d bytes are free on a node whose server is away", room.GetAvailableBytes())
	}
	list, err := call(ctx, via.api.Dots.ListDots, &dotmeshv1.ListDotsRequest{})
	must(t, err)
	known := map[string]bool{}
	for _, d := range list.GetDots() {
		for _, b := range d.GetBranches() {
			known[b.GetMasterNode()] = known[b.GetMasterNode()] || b.GetUsedBytes() > 0
		}
	}
	if known[m[0].node] || !known[m[1].node] || !known[m[2].node] {
		t.Errorf("the nodes whose dots' sizes are known: %v, want all but node-a", known)
	}
	for _, handle := range []string{v.GetId(), "admin/away"} {
		must(t, only(call(ctx, via.api.Volumes.UnpublishVolume, &dotmeshv1.UnpublishVolumeRequest{Volume: handle, Node: m[0].node})))
	}
	elsewhere, err := via.create(ctx, "not-away", "")
	must(t, err)
	if elsewhere.GetNode() == m[0].node {
		t.Error("a new dot was placed where no server is")
	}
	m[0].start(t) // at another address
	m[0].waitReady(t)
	m.gone(t, "the claim of a handle that was unpublished meanwhile", "admin/away@master.__default__")
	away, err := call(ctx, via.api.Dots.GetDot, &dotmeshv1.GetDotRequest{Dot: "away"})
	must(t, err)
	must(t, only(deleteVolume(ctx, via, v.GetId())))
	m.buried(t, away.GetDot())
}
