package dot

import "strings"

// VolumeHandle is what a PersistentVolume's volumeHandle says: the id of a
// volume that CreateVolume made or, in one written by hand, a dot.
type VolumeHandle struct {
	ID     VolumeID   // set for a volume that CreateVolume made
	Static *DotSubdot // set otherwise
}

// DotSubdot names a subdot of a branch of a dot.
type DotSubdot struct {
	Dot    FullName
	Branch BranchName
	Subdot Subdot
}

// ParseVolumeHandle reads a volume id or "<namespace>/<dot>[@branch][.subdot]".
// Branch and subdot default to master and __default__.
func ParseVolumeHandle(s string) (VolumeHandle, error) {
	ns, rest, found := strings.Cut(s, "/")
	if !found {
		id, err := ParseVolumeID(s)
		if err != nil {
			return VolumeHandle{}, Invalid("volume handle %q is neither a volume id nor <namespace>/<dot>[@branch][.subdot]", clip(s))
		}
		return VolumeHandle{ID: id}, nil
	}
	static := &DotSubdot{Branch: MasterBranch, Subdot: DefaultSubdot}
	rest, subdot, hasSubdot := strings.Cut(rest, ".")
	name, branch, hasBranch := strings.Cut(rest, "@")
	var err error
	if static.Dot.Namespace, err = ParseNamespace(ns); err != nil {
		return VolumeHandle{}, err
	}
	if static.Dot.Name, err = ParseName(name); err != nil {
		return VolumeHandle{}, err
	}
	if hasBranch {
		if static.Branch, err = ParseBranchName(branch); err != nil {
			return VolumeHandle{}, err
		}
	}
	if hasSubdot {
		if static.Subdot, err = ParseSubdot(subdot); err != nil {
			return VolumeHandle{}, err
		}
	}
	return VolumeHandle{Static: static}, nil
}

// String gives what ParseVolumeHandle reads.
func (h VolumeHandle) String() string {
	if h.Static == nil {
		return h.ID.String()
	}
	return h.Static.Dot.String() + "@" + h.Static.Branch.String() + "." + h.Static.Subdot.String()
}

// SnapshotHandle is what a VolumeSnapshotContent's snapshotHandle says. Of Dot
// and FullName one is set.
type SnapshotHandle struct {
	Dot      ID
	FullName FullName
	Commit   CommitID
}

// ParseSnapshotHandle reads "<dot id>/<commit>" or, written by hand,
// "<namespace>/<dot>/<commit>".
func ParseSnapshotHandle(s string) (SnapshotHandle, error) {
	var h SnapshotHandle
	var err error
	parts := strings.Split(s, "/")
	switch len(parts) {
	case 2:
		h.Dot, err = ParseID(parts[0])
	case 3:
		if h.FullName.Namespace, err = ParseNamespace(parts[0]); err == nil {
			h.FullName.Name, err = ParseName(parts[1])
		}
	default:
		err = Invalid("snapshot handle %q is neither <dot id>/<commit> nor <namespace>/<dot>/<commit>", clip(s))
	}
	if err != nil {
		return SnapshotHandle{}, err
	}
	if h.Commit, err = ParseCommitID(parts[len(parts)-1]); err != nil {
		return SnapshotHandle{}, err
	}
	return h, nil
}

// String gives what ParseSnapshotHandle reads.
func (h SnapshotHandle) String() string {
	if h.Dot.IsZero() {
		return h.FullName.String() + "/" + h.Commit.String()
	}
	return h.Dot.String() + "/" + h.Commit.String()
}
