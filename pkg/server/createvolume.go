package server

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// claim is a volume with the dot and branch that it claims.
type claim struct {
	volume dot.Volume
	dot    dot.Dot
	branch dot.Branch
	// at is the revision at which this process has just written the volume (and
	// dot and branch, if it made them); 0: read them before comparing.
	at int64
}

func (p *plane) createVolume(ctx context.Context, req *dotmeshv1.CreateVolumeRequest) (*dotmeshv1.CreateVolumeResponse, error) {
	w, err := parseWish(req)
	if err != nil {
		return nil, err
	}
	id := dot.VolumeIDOf(w.csiName)
	unlock, err := p.locks.lock(ctx, volumeLock(id))
	if err != nil {
		return nil, err
	}
	defer unlock()

	var c claim
	err = again(ctx, func() error {
		rec, there, err := found(p.store.GetVolume(ctx, id))
		switch {
		case err != nil:
			return err
		case there:
			c, err = p.meetVolume(ctx, w, rec.Value)
		default:
			if err := p.notWhileRebuilding("volume " + id.String() + " may be there already"); err != nil {
				return err
			}
			c, err = p.recordVolume(ctx, w, id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	made, err := p.finishCreate(ctx, c)
	if err != nil {
		return nil, p.undoCreate(ctx, c, err)
	}
	return &dotmeshv1.CreateVolumeResponse{Volume: p.volumeToProto(ctx, made)}, nil
}

// undoCreate takes back what was recorded of a volume, if the caller takes cause
// for the last word: external-provisioner then forgets the volume, and would never
// delete it. It gives what to answer. The caller holds the volume's lock.
func (p *plane) undoCreate(ctx context.Context, c claim, cause error) error {
	if !final(cause) {
		return cause
	}
	rec, there, err := found(p.store.GetVolume(ctx, c.volume.ID))
	if err == nil && there && rec.Value.State == dot.Creating {
		fate := keepDot // what was there before stays, whatever it is
		if rec.Value.NewDot {
			fate = dropDot
		}
		err = p.removeClaim(ctx, rec, fate)
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "cannot undo a volume that cannot be created", "volume", c.volume.ID)
		return dot.Errorf(dot.CodeAborted, "%w; it is undone with the next try", cause)
	}
	return cause
}

// final tells whether a caller that gets this error takes it that nothing is
// under way any more (external-provisioner: checkError).
func final(err error) bool {
	var other *elsewhere
	if errors.As(err, &other) {
		return false // what is under way there is that server's
	}
	var classed *dot.Error
	if !errors.As(err, &classed) {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	switch classed.Code {
	case dot.CodeAborted, dot.CodeUnavailable, dot.CodeDeadline:
		return false
	}
	return true
}

// meetVolume answers a request whose volume exists: the same request goes on
// where it was, another one is refused.
func (p *plane) meetVolume(ctx context.Context, w wish, v dot.Volume) (claim, error) {
	if v.State == dot.Deleting {
		return claim{}, dot.Errorf(dot.CodeAborted, "a volume of the name %q is being deleted; try again", w.csiName)
	}
	c, err := p.claimOf(ctx, v)
	if err != nil {
		return claim{}, err
	}
	if difference := c.differsFrom(w); difference != "" {
		return claim{}, dot.Errorf(dot.CodeExists, "a volume of the name %q exists with %s", w.csiName, difference)
	}
	if v.State == dot.Ready {
		return c, nil
	}
	return c, p.here(ctx, c.dot, c.branch)
}

// differsFrom tells in what the volume is not what a wish asks for, "" when it is.
func (c claim) differsFrom(w wish) string {
	v := c.volume
	sameSnapshot := v.Source == nil && w.snapshot == nil || v.Source != nil && w.snapshot != nil && *v.Source == *w.snapshot
	switch {
	case v.CSIName != w.csiName:
		return "another origin: it was written by hand"
	case v.SizeBytes < w.required || w.limit > 0 && v.SizeBytes > w.limit:
		return "another size"
	case v.ReadOnly != w.readOnly:
		return "another access mode"
	case !sameSnapshot || v.SourceVolume != w.sourceVolume:
		return "another source"
	case v.KubernetesNamespace != w.kubeNamespace || v.PVCName != w.pvcName:
		return "another PersistentVolumeClaim"
	case w.ofPVC():
		// Its annotations may have changed since the first try chose: what was
		// stored then holds.
		return ""
	case !w.name.IsZero() && c.dot.FullName != dot.FullName{Namespace: w.namespace, Name: w.name}:
		return "another dot"
	case !w.subdot.IsZero() && v.Subdot != w.subdot, c.branch.Name != w.branch:
		return "another subdot or branch"
	}
	return ""
}

// recordVolume decides what the volume is to be and writes it down.
func (p *plane) recordVolume(ctx context.Context, w wish, id dot.VolumeID) (claim, error) {
	origin, err := p.resolveSource(ctx, w)
	if err != nil {
		return claim{}, err
	}
	var joined store.Record[dot.Dot]
	t, err := resolveTarget(w, func(name dot.FullName) (*dot.Dot, error) {
		rec, there, err := p.lookup(ctx, name)
		if err != nil || !there {
			return nil, err
		}
		joined = rec
		return &rec.Value, nil
	})
	if err != nil {
		return claim{}, err
	}
	if err := p.belongs(ctx, w, t, origin); err != nil {
		return claim{}, err
	}
	subdot := orDefault(w.subdot, orDefault(origin.subdot, dot.DefaultSubdot))
	least, err := origin.least(ctx, subdot)
	if err != nil {
		return claim{}, err
	}
	size, err := chooseSize(w.required, w.limit, least, p.health.size())
	if err != nil {
		return claim{}, err
	}
	v := dot.Volume{
		ID: id, CSIName: w.csiName, State: dot.Creating, SizeBytes: size,
		KubernetesNamespace: w.kubeNamespace, PVCName: w.pvcName, ReadOnly: w.readOnly,
		Subdot: subdot, Source: w.snapshot, SourceVolume: w.sourceVolume, Created: p.now(),
	}
	if t.join != nil {
		return p.recordJoin(ctx, v, w.branch, joined)
	}
	if w.branch != dot.MasterBranch {
		return claim{}, dot.Invalid("dot %s does not exist, and a new dot begins with the branch %q, not %q", t.name, dot.MasterBranch, w.branch)
	}
	return p.recordNew(ctx, v, w, t.name, origin)
}

// belongs gives elsewhere for a new volume whose dot is, or is to be, on another
// pool, and refuses one that lies here where its pod cannot reach it.
func (p *plane) belongs(ctx context.Context, w wish, t target, origin source) error {
	if t.join == nil && origin.commit == nil {
		return p.place(ctx, "the new dot "+t.name.String(), w.preferredNodes)
	}
	if t.join == nil { // resolveSource has found it here
		return p.reachable(origin.of, w.preferredNodes)
	}
	b, there, err := found(p.store.GetBranch(ctx, t.join.ID, w.branch))
	if err != nil || !there {
		return err // joining it tells
	}
	if err := p.here(ctx, *t.join, b.Value); err != nil {
		return err
	}
	return p.reachable(t.join.FullName, w.preferredNodes)
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// lookup finds a dot by its name.
func (p *plane) lookup(ctx context.Context, name dot.FullName) (store.Record[dot.Dot], bool, error) {
	rec, there, err := found(p.store.LookupName(ctx, name))
	if err != nil || !there {
		return store.Record[dot.Dot]{}, false, err
	}
	return found(p.store.GetDot(ctx, rec.Value))
}

// recordNew claims the name and writes dot, branch and volume as being created.
// Their ids derive from the volume's, unless an earlier volume of the same CSI
// name has left a dot that is still on its way out.
func (p *plane) recordNew(ctx context.Context, v dot.Volume, w wish, name dot.FullName, origin source) (claim, error) {
	d := dot.Dot{
		ID: dot.IDOf(v.ID), FullName: name, State: dot.Creating, MadeByPVC: true,
		Owner: w.kubeNamespace, Settings: w.settings, Created: v.Created, Subdots: origin.subdots,
	}
	b := dot.Branch{
		ID: dot.BranchIDOf(v.ID), Name: dot.MasterBranch, State: dot.Creating, Origin: origin.commit,
		Master: p.pool, Epoch: dot.Epoch{Incarnation: p.cluster.Incarnation, Number: 1}, ReadOnly: v.ReadOnly, Created: v.Created,
	}
	v.NewDot = true
	d.AssignSubdot(v.Subdot, true)
	write := func() (claim, error) {
		b.Dot, v.Dot, v.Branch = d.ID, d.ID, b.ID
		at, err := p.applyAt(ctx, func(t *store.Txn) {
			t.Absent(store.VolumeKey(v.ID)).Absent(store.DotKey(d.ID)).Absent(store.BranchIDKey(b.ID)).ClaimName(name, d.ID)
			t.PutDot(d).PutBranch(b).PutVolume(v).PutAssignment(store.Assignment{Pool: p.pool, Branch: b.ID, Dot: d.ID, Role: store.RoleMaster})
			origin.require(t)
		})
		return claim{v, d, b, at}, err
	}
	c, err := write()
	var conflict *store.Conflict
	if errors.As(err, &conflict) && (conflict.On(store.DotKey(d.ID)) || conflict.On(store.BranchIDKey(b.ID))) {
		d.ID, b.ID = dot.NewID(), dot.NewBranchID()
		c, err = write()
	}
	return c, err
}

// recordJoin writes the volume, and its subdot, as a claim on a dot that exists.
func (p *plane) recordJoin(ctx context.Context, v dot.Volume, branch dot.BranchName, joined store.Record[dot.Dot]) (claim, error) {
	d := joined.Value
	switch d.State {
	case dot.Creating:
		return claim{}, dot.Errorf(dot.CodeAborted, "dot %s is being created; try again", d.FullName)
	case dot.Deleting:
		return claim{}, dot.Errorf(dot.CodeAborted, "dot %s is being deleted; try again", d.FullName)
	}
	b, there, err := found(p.store.GetBranch(ctx, d.ID, branch))
	switch {
	case err != nil:
		return claim{}, err
	case !there || b.Value.Hidden:
		return claim{}, dot.Precondition("dot %s has no branch %q: see dm show %s", d.FullName, branch, d.FullName)
	case b.Value.ReadOnly:
		return claim{}, dot.Precondition("dot %s is read-only: it was restored as ReadOnlyMany; restore its snapshot again for a volume that can be written", d.FullName)
	}
	if err := p.here(ctx, d, b.Value); err != nil {
		return claim{}, err
	}
	others, err := p.volumesOf(ctx, d.ID)
	if err != nil {
		return claim{}, err
	}
	if err := checkPromises(d.FullName, v.Subdot, v.SizeBytes, onBranch(others, b.Value.ID)); err != nil {
		return claim{}, err
	}
	if err := p.checkHolds(ctx, d.FullName, b.Value.ID, v); err != nil {
		return claim{}, err
	}
	for _, o := range onBranch(others, b.Value.ID) {
		if o.State == dot.Deleting && (o.Subdot == v.Subdot || v.Subdot.IsRoot()) {
			return claim{}, dot.Errorf(dot.CodeAborted, "subdot %s of dot %s is being removed; try again", o.Subdot, d.FullName)
		}
	}
	v.Dot, v.Branch = d.ID, b.Value.ID
	// A PersistentVolume written by hand owns nothing: what it finds stays.
	d.AssignSubdot(v.Subdot, v.CSIName != "")
	d.Released = false
	at, err := p.applyAt(ctx, func(t *store.Txn) {
		t.Absent(store.VolumeKey(v.ID)).Unchanged(store.DotKey(d.ID), joined.Revision).Epoch(b.Value.ID, b.Value.Epoch)
		t.PutDot(d).PutVolume(v)
	})
	return claim{v, d, b.Value, at}, err
}

func onBranch(volumes []dot.Volume, id dot.BranchID) []dot.Volume {
	var on []dot.Volume
	for _, v := range volumes {
		if v.Branch == id {
			on = append(on, v)
		}
	}
	return on
}

// finishCreate does on the pool what the records say and marks them ready. It is
// what a retry, and settling after a crash, calls again.
func (p *plane) finishCreate(ctx context.Context, c claim) (claim, error) {
	if c.volume.State == dot.Ready {
		return c, nil
	}
	if err := p.here(ctx, c.dot, c.branch); err != nil {
		return c, err
	}
	unlock, err := p.locks.lock(ctx, dotLock(c.dot.ID))
	if err != nil {
		return c, err
	}
	defer unlock()
	if c.branch.State == dot.Creating {
		err = p.makeBranch(ctx, c)
	} else if err = p.followReset(ctx, &c); err == nil {
		err = p.engine.SetVolume(ctx, c.volume, c.branch.ID, c.dot.Subdots[c.volume.Subdot])
	}
	if err != nil {
		return c, err
	}
	err = again(ctx, func() error { return p.markCreated(ctx, &c) })
	if err == nil {
		klog.FromContext(ctx).Info("created volume", "volume", c.volume.ID, "dot", c.dot.FullName, "subdot", c.volume.Subdot, "newDot", c.volume.NewDot)
	}
	return c, err
}

// followReset gives a claim the branch that a reset has put the volume on since it
// was read. The dot's lock keeps further ones away.
func (p *plane) followReset(ctx context.Context, c *claim) error {
	v, err := p.store.GetVolume(ctx, c.volume.ID)
	if err != nil || v.Value.Branch == c.branch.ID {
		return err
	}
	*c, err = p.claimOf(ctx, v.Value)
	return err
}

// makeBranch starts one ZFS process, unless the volume is a clone of another:
// then the other is committed first, out of sight.
func (p *plane) makeBranch(ctx context.Context, c claim) error {
	spec := engine.BranchSpec{Dot: c.dot, Branch: c.branch, Volumes: []dot.Volume{c.volume}}
	if o := c.branch.Origin; o != nil {
		spec.From = &engine.CommitRef{Branch: o.Branch, Commit: o.Commit}
	}
	base := spec.From != nil && !c.volume.SourceVolume.IsZero()
	if base && !p.engine.HasBranch(c.branch.ID) {
		if err := p.takeCloneBase(ctx, c, *spec.From); err != nil {
			return err
		}
	}
	if err := p.engine.CreateBranch(ctx, spec); err != nil {
		return err
	}
	if base {
		// It is marked as deleted now and goes with the last of its clones.
		return p.dropSnapshot(ctx, *spec.From)
	}
	return nil
}

// markCreated marks dot, branch and volume ready, comparing the branch's epoch.
func (p *plane) markCreated(ctx context.Context, c *claim) error {
	volumeAt, dotAt, branchAt := c.at, c.at, c.at
	if c.at == 0 {
		v, err := p.store.GetVolume(ctx, c.volume.ID)
		if err != nil {
			return err
		}
		d, err := p.store.GetDot(ctx, c.dot.ID)
		if err != nil {
			return err
		}
		b, err := p.store.FindBranch(ctx, v.Value.Branch)
		if err != nil {
			return err
		}
		if v.Value.State == dot.Deleting || d.Value.State == dot.Deleting {
			return dot.Errorf(dot.CodeAborted, "the volume was deleted while it was created")
		}
		c.volume, c.dot, c.branch = v.Value, d.Value, b.Value
		volumeAt, dotAt, branchAt = v.Revision, d.Revision, b.Revision
	}
	c.at = 0
	done := claim{volume: c.volume, dot: c.dot, branch: c.branch}
	done.volume.State, done.dot.State, done.branch.State = dot.Ready, dot.Ready, dot.Ready
	err := p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.VolumeKey(c.volume.ID), volumeAt).Epoch(c.branch.ID, c.branch.Epoch).PutVolume(done.volume)
		if c.dot.State == dot.Creating {
			t.Unchanged(store.DotKey(c.dot.ID), dotAt).Unchanged(store.BranchKey(c.dot.ID, c.branch.Name), branchAt)
			t.PutDot(done.dot).PutBranch(done.branch)
		}
	})
	if err == nil {
		*c = done
	}
	return err
}

// claimOf reads the dot and branch of a volume.
func (p *plane) claimOf(ctx context.Context, v dot.Volume) (claim, error) {
	d, err := p.store.GetDot(ctx, v.Dot)
	if err != nil {
		return claim{}, err
	}
	b, err := p.store.FindBranch(ctx, v.Branch)
	return claim{volume: v, dot: d.Value, branch: b.Value}, err
}

// handle is what a PersistentVolume calls the claim.
func (c claim) handle() string {
	if c.volume.CSIName != "" {
		return c.volume.ID.String()
	}
	return dot.VolumeHandle{Static: &dot.DotSubdot{Dot: c.dot.FullName, Branch: c.branch.Name, Subdot: c.volume.Subdot}}.String()
}

// user says whose a claim is, for people.
func (c claim) user() string {
	if c.volume.PVCName == "" {
		return "PersistentVolume with the handle " + c.handle()
	}
	return fmt.Sprintf("PersistentVolumeClaim %s/%s", c.volume.KubernetesNamespace, c.volume.PVCName)
}

func (p *plane) volumeToProto(ctx context.Context, c claim) *dotmeshv1.Volume {
	return c.toProto(p.nodeOf(ctx, c.branch.Master))
}

func (c claim) toProto(node string) *dotmeshv1.Volume {
	out := api.VolumeToProto(c.volume, c.dot, c.branch, node)
	out.Id = c.handle()
	return out
}
