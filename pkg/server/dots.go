package server

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/api"
	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// parseDotName reads "namespace/name", or a name alone in the default namespace.
func parseDotName(s string) (dot.FullName, error) {
	if s == "" {
		return dot.FullName{}, dot.Invalid("the dot's name is missing")
	}
	full := dot.FullName{Namespace: dot.DefaultNamespace}
	ns, name, qualified := strings.Cut(s, "/")
	if !qualified {
		name = s
	}
	var err error
	if qualified {
		if full.Namespace, err = dot.ParseNamespace(ns); err != nil {
			return dot.FullName{}, err
		}
	}
	full.Name, err = dot.ParseName(name)
	return full, err
}

// findDot finds a dot by what a person calls it: its name or its id.
func (p *plane) findDot(ctx context.Context, s string) (store.Record[dot.Dot], error) {
	if id, err := dot.ParseID(s); err == nil {
		return p.store.GetDot(ctx, id)
	}
	name, err := parseDotName(s)
	if err != nil {
		return store.Record[dot.Dot]{}, err
	}
	rec, there, err := p.lookup(ctx, name)
	if err == nil && !there {
		err = noSuchDot(name)
	}
	return rec, err
}

func noSuchDot(name dot.FullName) error {
	return dot.NotFound("dot %s does not exist; dm list shows those that do", name)
}

// findBranch finds a visible branch of a dot; "" is master.
func (p *plane) findBranch(ctx context.Context, d dot.Dot, s string) (store.Record[dot.Branch], error) {
	name := dot.MasterBranch
	if err := optional(s, dot.ParseBranchName, &name); err != nil {
		return store.Record[dot.Branch]{}, err
	}
	rec, there, err := found(p.store.GetBranch(ctx, d.ID, name))
	if err == nil && (!there || rec.Value.Hidden) {
		err = dot.NotFound("dot %s has no branch %q: see dm show %s", d.FullName, name, d.FullName)
	}
	return rec, err
}

// writable refuses what cannot be committed to or branched from here and now.
func (p *plane) writable(ctx context.Context, d dot.Dot, b dot.Branch) error {
	if d.State != dot.Ready || b.State != dot.Ready {
		return dot.Errorf(dot.CodeAborted, "dot %s is not ready (%s); try again", d.FullName, d.State)
	}
	return p.here(ctx, d, b)
}

// dotHere gives elsewhere for a dot that another pool's server must change: the one
// of its branches, which all begin at each other's commits.
func (p *plane) dotHere(ctx context.Context, d dot.Dot) error {
	branches, err := p.store.ListBranches(ctx, d.ID)
	if err != nil || len(branches) == 0 {
		return err
	}
	return p.here(ctx, d, branches[0].Value)
}

// createDot makes an empty dot that belongs to no Kubernetes namespace.
func (p *plane) createDot(ctx context.Context, req *dotmeshv1.CreateDotRequest) (*dotmeshv1.CreateDotResponse, error) {
	name, err := parseDotName(req.Dot)
	if err != nil {
		return nil, err
	}
	if err := p.notWhileRebuilding("dot " + name.String() + " may be there already"); err != nil {
		return nil, err
	}
	if err := p.place(ctx, "the new dot "+name.String(), nil); err != nil {
		return nil, err
	}
	now := p.now()
	d := dot.Dot{
		ID: dot.NewID(), FullName: name, State: dot.Creating, Created: now,
		Shares: dot.Shares{All: req.ShareAll, Namespaces: sortedUnique(req.ShareWith)},
	}
	err = firstError(
		optional(req.Compression, dot.ParseCompression, &d.Settings.Compression),
		optional(req.RecordSize, dot.ParseRecordSize, &d.Settings.RecordSize),
	)
	if err != nil {
		return nil, err
	}
	b := dot.Branch{
		ID: dot.NewBranchID(), Dot: d.ID, Name: dot.MasterBranch, State: dot.Creating, Master: p.pool,
		Epoch: dot.Epoch{Incarnation: p.cluster.Incarnation, Number: 1}, Created: now,
	}
	err = p.apply(ctx, func(t *store.Txn) {
		t.ClaimName(name, d.ID).PutDot(d).PutBranch(b)
		t.PutAssignment(store.Assignment{Pool: p.pool, Branch: b.ID, Dot: d.ID, Role: store.RoleMaster})
	})
	var conflict *store.Conflict
	if errors.As(err, &conflict) && conflict.On(store.NameKey(name)) {
		return nil, dot.Errorf(dot.CodeExists, "dot %s exists already", name)
	}
	if err != nil {
		p.work.soon(p.branchJob(d.ID, b.ID)) // the answer may have been lost
		return nil, err
	}
	made, b, err := p.finishBranch(ctx, d.ID, b.ID)
	if err != nil {
		return nil, p.undoDot(ctx, d.ID, b.ID, err)
	}
	d = made
	klog.FromContext(ctx).Info("created dot", "dot", name, "id", d.ID)
	out := api.DotToProto(d)
	out.Branches = []*dotmeshv1.Branch{api.BranchToProto(b, p.node)}
	return &dotmeshv1.CreateDotResponse{Dot: out}, nil
}

// undoDot lets go of a new dot that cannot be made. Where that is not certain the
// dot is finished in the background.
func (p *plane) undoDot(ctx context.Context, id dot.ID, branch dot.BranchID, cause error) error {
	if final(cause) {
		_, err := p.deleteDot(ctx, &dotmeshv1.DeleteDotRequest{Dot: id.String()})
		if err == nil {
			return cause
		}
		klog.FromContext(ctx).Error(err, "cannot undo a dot that cannot be created", "dot", id)
	}
	p.work.soon(p.branchJob(id, branch))
	return cause
}

// branchJob finishes a branch whose caller has had no answer, or may have had
// none. One that was never recorded, or cannot be made any more, ends it.
func (p *plane) branchJob(id dot.ID, branch dot.BranchID) job {
	return job{key: "branch " + branch.String(), run: func(ctx context.Context) error {
		_, _, err := p.finishBranch(ctx, id, branch)
		if err != nil && dot.CodeOf(err) == dot.CodeNotFound {
			klog.FromContext(ctx).Info("a branch is not finished", "branch", branch, "because", err)
			return nil
		}
		return err
	}}
}

// finishBranch makes the dataset of a branch that dm asked for, with its dot if
// that is new, and marks them ready. It is what settling after a crash calls too.
func (p *plane) finishBranch(ctx context.Context, id dot.ID, branch dot.BranchID) (dot.Dot, dot.Branch, error) {
	fail := func(err error) (dot.Dot, dot.Branch, error) { return dot.Dot{}, dot.Branch{}, err }
	d, err := p.store.GetDot(ctx, id)
	if err != nil {
		return fail(err)
	}
	b, err := p.store.FindBranch(ctx, branch)
	if err != nil {
		return fail(err)
	}
	if b.Value.State != dot.Creating || d.Value.State == dot.Deleting {
		return d.Value, b.Value, nil
	}
	spec := engine.BranchSpec{Dot: d.Value, Branch: b.Value}
	if o := b.Value.Origin; o != nil {
		spec.From = &engine.CommitRef{Branch: o.Branch, Commit: o.Commit}
	}
	if err := p.engine.CreateBranch(ctx, spec); err != nil {
		return fail(err)
	}
	newDot := d.Value.State == dot.Creating
	d.Value.State, b.Value.State = dot.Ready, dot.Ready
	err = p.apply(ctx, func(t *store.Txn) {
		t.Unchanged(store.BranchKey(id, b.Value.Name), b.Revision).Epoch(branch, b.Value.Epoch).PutBranch(b.Value)
		if newDot {
			t.Unchanged(store.DotKey(id), d.Revision).PutDot(d.Value)
		}
	})
	return d.Value, b.Value, err
}

// deleteDot refuses a dot that volumes use.
func (p *plane) deleteDot(ctx context.Context, req *dotmeshv1.DeleteDotRequest) (*dotmeshv1.DeleteDotResponse, error) {
	var id dot.ID
	gone := false // or may be
	err := again(ctx, func() error {
		d, err := p.findDot(ctx, req.Dot)
		if err != nil {
			return err
		}
		if err := p.dotHere(ctx, d.Value); err != nil {
			return err
		}
		id = d.Value.ID
		if gone = d.Value.State == dot.Deleting; gone {
			return nil
		}
		volumes, err := p.volumesOf(ctx, id)
		if err != nil {
			return err
		}
		if len(volumes) > 0 {
			c, err := p.claimOf(ctx, volumes[0])
			if err != nil {
				return err
			}
			return dot.Precondition("dot %s is used by %d volumes, one of them the %s: delete these first", d.Value.FullName, len(volumes), c.user())
		}
		name, err := p.ownsName(ctx, d.Value)
		if err != nil {
			return err
		}
		d.Value.State = dot.Deleting
		gone = true
		return p.apply(ctx, func(t *store.Txn) {
			t.Unchanged(store.DotKey(id), d.Revision).PutDot(d.Value)
			if name != 0 {
				t.Unchanged(store.NameKey(d.Value.FullName), name).DeleteName(d.Value.FullName)
			}
		})
	})
	if gone {
		p.work.soon(p.dotJob(id))
	}
	if err != nil {
		return nil, err
	}
	return &dotmeshv1.DeleteDotResponse{}, nil
}

// shareDot changes which Kubernetes namespaces may use a dot beside its owner.
func (p *plane) shareDot(ctx context.Context, req *dotmeshv1.ShareDotRequest) (*dotmeshv1.ShareDotResponse, error) {
	var d store.Record[dot.Dot]
	err := again(ctx, func() (err error) {
		if d, err = p.findDot(ctx, req.Dot); err != nil {
			return err
		}
		if err := p.dotHere(ctx, d.Value); err != nil {
			return err
		}
		kept := slices.DeleteFunc(sortedUnique(append(req.Share, d.Value.Shares.Namespaces...)), func(ns string) bool {
			return slices.Contains(req.Unshare, ns)
		})
		d.Value.Shares.Namespaces = kept
		if req.All != nil {
			d.Value.Shares.All = *req.All
		}
		return p.apply(ctx, func(t *store.Txn) { t.Unchanged(store.DotKey(d.Value.ID), d.Revision).PutDot(d.Value) })
	})
	if err != nil {
		return nil, err
	}
	branches, err := p.store.ListBranches(ctx, d.Value.ID)
	if err != nil {
		return nil, err
	}
	for _, b := range branches {
		if b.Value.Master == p.pool && p.engine.HasBranch(b.Value.ID) {
			if err := p.engine.SetDot(ctx, b.Value.ID, d.Value); err != nil {
				return nil, err
			}
		}
	}
	return &dotmeshv1.ShareDotResponse{Dot: api.DotToProto(d.Value)}, nil
}

func sortedUnique(s []string) []string {
	s = slices.DeleteFunc(slices.Clone(s), func(v string) bool { return v == "" })
	slices.Sort(s)
	return slices.Compact(s)
}
