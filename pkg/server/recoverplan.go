package server

import (
	"slices"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/engine"
	"github.com/dotmesh-io/dotmesh-csi/pkg/store"
)

// recovered is what a registry is given from a pool.
type recovered struct {
	dots       []dot.Dot
	branches   []dot.Branch
	commits    []dot.Commit
	snapshots  []store.Snapshot
	volumes    []dot.Volume
	tombstones []store.Tombstone
	// notes tell the administrator what could not be taken over as it was.
	notes []string
}

// holding is what a registry has when a pool is added to it: of other pools, and what
// an earlier run has written of this one.
type holding struct {
	dots      map[dot.ID]dot.Dot
	names     map[dot.FullName]dot.ID
	branches  map[dot.BranchID]dot.Branch
	commits   map[dot.SnapshotHandle]bool
	snapshots map[string]dot.SnapshotHandle // by CSI name
	volumes   map[dot.VolumeID]dot.BranchID
}

// highestIncarnation is the newest that a pool has seen.
func highestIncarnation(inv engine.Inventory) uint64 {
	highest := inv.Incarnation
	for _, b := range inv.Branches {
		highest = max(highest, b.Branch.Epoch.Incarnation)
	}
	return highest
}

// planRecovery reads a pool's inventory into the records that a registry lacks. What
// the registry has stays as it is, and is never in the plan. It is pure, and gives the
// same for the same pool and registry, so that it can be repeated after a crash.
func planRecovery(inv engine.Inventory, pool dot.PoolID, incarnation uint64, now time.Time, has holding) recovered {
	r := &recovery{
		incarnation: incarnation, pool: pool, now: now, has: has,
		dots: map[dot.ID]*dot.Dot{}, names: map[dot.FullName]dot.ID{},
		branches: map[dot.ID]map[dot.BranchName]bool{}, visible: map[dot.ID]bool{},
		claims: map[dot.VolumeID]int{}, elsewhere: map[dot.ID]dot.PoolID{},
	}
	for _, b := range has.branches {
		if b.Master != pool {
			r.elsewhere[b.Dot] = b.Master
		}
		r.takeBranchName(b)
	}
	// Branches come by age. Those that are out of sight take names last, because
	// theirs matter to nobody.
	for _, hidden := range []bool{false, true} {
		for _, f := range inv.Branches {
			if f.Branch.Hidden == hidden {
				r.addBranch(f)
			}
		}
	}
	for _, f := range inv.Commits {
		r.addCommit(f)
	}
	for _, f := range inv.Receiving {
		r.note("the half-received dataset " + f.Dataset.String() + " is left as it is")
	}
	for _, u := range inv.Unknown {
		r.note(u.Name + " is left as it is: " + u.Reason)
	}
	r.settleVolumes()
	r.settleDots()
	r.settleSnapshots()
	return r.recovered
}

type recovery struct {
	recovered
	incarnation uint64
	pool        dot.PoolID
	now         time.Time
	has         holding

	dots      map[dot.ID]*dot.Dot
	order     []dot.ID
	names     map[dot.FullName]dot.ID
	branches  map[dot.ID]map[dot.BranchName]bool
	visible   map[dot.ID]bool       // dots with a branch that is not hidden
	claims    map[dot.VolumeID]int  // where in volumes each one is
	claimed   map[dot.ID]bool       // dots with a volume
	elsewhere map[dot.ID]dot.PoolID // dots that another pool has a branch of
}

func (r *recovery) note(s string) { r.notes = append(r.notes, s) }

func (r *recovery) addBranch(f engine.FoundBranch) {
	if other, there := r.elsewhere[f.Dot.ID]; there {
		r.note("branch " + f.Branch.ID.String() + " is left as it is: the registry has its dot " + f.Dot.FullName.String() + " on pool " + other.String())
		return
	}
	d := r.addDot(f)
	b, there := r.has.branches[f.Branch.ID]
	if !there {
		var ok bool
		if b, ok = r.newBranch(d, f.Branch); !ok {
			return
		}
	}
	if b.Hidden {
		return
	}
	r.visible[d.ID] = true
	for _, v := range f.Volumes {
		v.Dot, v.Branch, v.State, v.Publications = d.ID, b.ID, dot.Ready, nil
		r.addVolume(v)
	}
}

// addDot meets a branch's dot, for the first time or again.
func (r *recovery) addDot(f engine.FoundBranch) *dot.Dot {
	d, known := r.dots[f.Dot.ID]
	if !known {
		added := f.Dot
		d = &added
		r.dots[d.ID] = d
		r.order = append(r.order, d.ID)
		return d
	}
	for s, rec := range f.Dot.Subdots {
		if _, there := d.Subdots[s]; !there {
			if d.Subdots == nil {
				d.Subdots = map[dot.Subdot]dot.SubdotRecord{}
			}
			d.Subdots[s] = rec
		}
	}
	return d
}

func (r *recovery) takeBranchName(b dot.Branch) {
	if r.branches[b.Dot] == nil {
		r.branches[b.Dot] = map[dot.BranchName]bool{}
	}
	r.branches[b.Dot][b.Name] = true
}

// newBranch adds one that the registry lacks, false where it has to be left out.
func (r *recovery) newBranch(d *dot.Dot, b dot.Branch) (dot.Branch, bool) {
	b.Dot, b.Master, b.State = d.ID, r.pool, dot.Ready
	b.Epoch = dot.Epoch{Incarnation: r.incarnation, Number: max(b.Epoch.Number, 1)}
	if r.branches[d.ID][b.Name] {
		// The elder keeps the name: the other one was not put in its place yet
		// when the registry was lost, or was replaced by it.
		name, err := hiddenName(b.Name, b.ID)
		if err != nil {
			r.note("branch " + b.ID.String() + " of dot " + d.FullName.String() + " is left out: " + err.Error())
			return b, false
		}
		if !b.Hidden {
			r.note("dot " + d.FullName.String() + " had two branches " + b.Name.String() + "; the younger is now " + name.String())
		}
		b.Name = name
	}
	r.takeBranchName(b)
	r.recovered.branches = append(r.recovered.branches, b)
	if b.Hidden {
		// Its claims went before it did, or moved to the head that took its place.
		r.tombstones = append(r.tombstones, store.Tombstone{Branch: b.ID, Dot: d.ID, Epoch: b.Epoch, Pools: []dot.PoolID{r.pool}, Deleted: r.now})
	}
	return b, true
}

// addVolume decides between two branches that both tell of a volume. In one dot
// the elder was to be replaced by a reset: it has the name, so it has the volume.
// In another dot the younger was made for a volume of the same CSI name after the
// first one was deleted.
func (r *recovery) addVolume(v dot.Volume) {
	i, taken := r.claims[v.ID]
	switch {
	case !taken:
		r.claims[v.ID] = len(r.volumes)
		r.volumes = append(r.volumes, v)
		return
	case r.volumes[i].Dot != v.Dot:
		v, r.volumes[i] = r.volumes[i], v
	}
	r.note("volume " + v.ID.String() + " is claimed on two branches, and stays on " + r.volumes[i].Branch.String() + ", not " + v.Branch.String())
}

func (r *recovery) addCommit(f engine.FoundCommit) {
	_, known := r.dots[f.Commit.Dot]
	_, noted := r.elsewhere[f.Commit.Dot]
	switch {
	case f.Deleted, noted: // the first goes with the last of its clones
	case !known:
		r.note("commit " + f.Snapshot.String() + " is of a dot that is not on this pool; its snapshot is left as it is")
	default:
		r.commits = append(r.commits, f.Commit)
	}
}

// settleVolumes leaves out those that the registry has.
func (r *recovery) settleVolumes() {
	r.claimed = map[dot.ID]bool{}
	r.volumes = slices.DeleteFunc(r.volumes, func(v dot.Volume) bool {
		at, there := r.has.volumes[v.ID]
		if there && at != v.Branch {
			r.note("volume " + v.ID.String() + " stays on branch " + at.String() + ", where the registry has it, and is not on " + v.Branch.String() + " of dot " + r.dots[v.Dot].FullName.String() + " any more")
			return true
		}
		r.claimed[v.Dot] = true
		return there
	})
}

// settleDots settles names and the fate of whole dots.
func (r *recovery) settleDots() {
	// A dot that was on its way out had given its name away: to one with a volume.
	slices.SortStableFunc(r.order, func(a, b dot.ID) int {
		switch {
		case r.claimed[a] == r.claimed[b]:
			return 0
		case r.claimed[a]:
			return -1
		}
		return 1
	})
	for _, id := range r.order {
		if _, there := r.has.dots[id]; there {
			continue
		}
		d := r.dots[id]
		d.State = dot.Ready
		if !r.visible[id] {
			d.State = dot.Deleting // only commits of VolumeSnapshots kept it
		} else if other, taken := r.nameTaken(d.FullName); taken {
			old := d.FullName
			d.FullName.Name = dot.NameFor(old.Name.String() + "." + id.String())
			r.note("the dots " + id.String() + " and " + other.String() + " are both called " + old.String() + "; the first is now " + d.FullName.String())
		}
		if d.State == dot.Ready {
			r.names[d.FullName] = id
			d.Released = d.Released || d.MadeByPVC && !r.claimed[id]
		}
		r.recovered.dots = append(r.recovered.dots, *d)
	}
}

func (r *recovery) nameTaken(name dot.FullName) (dot.ID, bool) {
	if id, taken := r.has.names[name]; taken {
		return id, true
	}
	id, taken := r.names[name]
	return id, taken
}

// settleSnapshots leaves out the commits that the registry has. Of two commits that
// were made under a CSI name the younger is the snapshot, unless the registry has one.
func (r *recovery) settleSnapshots() {
	slices.SortStableFunc(r.commits, func(a, b dot.Commit) int { return a.Time.Compare(b.Time) })
	at := map[string]int{}
	for _, c := range r.commits {
		mine := dot.SnapshotHandle{Dot: c.Dot, Commit: c.ID}
		has, taken := r.has.snapshots[c.CSIName]
		switch {
		case c.CSIName == "" || taken && has == mine:
			continue
		case taken:
			r.note("the snapshot " + c.CSIName + " stays commit " + has.String() + ", which the registry has, and is not " + mine.String() + " any more")
			continue
		}
		s := store.Snapshot{CSIName: c.CSIName, Dot: c.Dot, Commit: c.ID, Volume: c.Volume}
		if i, there := at[c.CSIName]; there {
			r.snapshots[i] = s
			continue
		}
		at[c.CSIName] = len(r.snapshots)
		r.snapshots = append(r.snapshots, s)
	}
	r.commits = slices.DeleteFunc(r.commits, func(c dot.Commit) bool {
		return r.has.commits[dot.SnapshotHandle{Dot: c.Dot, Commit: c.ID}]
	})
}
