package server

import (
	"strings"
	"unicode/utf8"

	dotmeshv1 "github.com/dotmesh-io/dotmesh-csi/pkg/api/dotmesh/v1"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// maxCSIName is the CSI specification's limit ("Size Limits").
const maxCSIName = 128

// defaultSize is the size of a volume when nobody asked for one.
const defaultSize = 1 << 30

// wish is a CreateVolume request whose parts are valid.
type wish struct {
	csiName         string
	required, limit int64
	namespace       dot.Namespace
	name            dot.Name // none: the PVC names no dot
	subdot          dot.Subdot
	branch          dot.BranchName
	settings        dot.Settings
	readOnly        bool
	kubeNamespace   string
	pvcName, pvcUID string
	crossNamespace  bool
	snapshot        *dot.SnapshotHandle
	sourceVolume    dot.VolumeID
	preferredNodes  []string
}

func (w wish) hasSource() bool { return w.snapshot != nil || !w.sourceVolume.IsZero() }

// ofPVC tells whether the CSI name is that of one PersistentVolumeClaim, so that
// every request of the name is a try for the same claim.
func (w wish) ofPVC() bool { return w.pvcUID != "" && strings.HasSuffix(w.csiName, w.pvcUID) }

func (w wish) requester() dot.Requester {
	return dot.Requester{KubernetesNamespace: w.kubeNamespace, CrossNamespace: w.crossNamespace}
}

// checkCSIName refuses what the CSI specification forbids in names.
func checkCSIName(s string) error {
	switch {
	case s == "":
		return dot.Invalid("the name is missing")
	case len(s) > maxCSIName:
		return dot.Invalid("the name has %d bytes and at most %d are allowed", len(s), maxCSIName)
	case !utf8.ValidString(s):
		return dot.Invalid("the name is not valid UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }):
		return dot.Invalid("the name holds control characters")
	}
	return nil
}

// parseWish checks a request without looking at anything else.
func parseWish(req *dotmeshv1.CreateVolumeRequest) (wish, error) {
	w := wish{
		csiName: req.CsiName, required: req.RequiredBytes, limit: req.LimitBytes,
		namespace: dot.DefaultNamespace, branch: dot.MasterBranch, readOnly: req.ReadOnly,
		kubeNamespace: req.KubernetesNamespace, pvcName: req.PvcName, pvcUID: req.PvcUid,
		crossNamespace: req.CrossNamespace, preferredNodes: req.PreferredNodes,
	}
	if err := checkCSIName(req.CsiName); err != nil {
		return wish{}, err
	}
	err := firstError(
		optional(req.DotNamespace, dot.ParseNamespace, &w.namespace),
		optional(req.DotName, dot.ParseName, &w.name),
		optional(req.Subdot, dot.ParseSubdot, &w.subdot),
		optional(req.Branch, dot.ParseBranchName, &w.branch),
		optional(req.Compression, dot.ParseCompression, &w.settings.Compression),
		optional(req.RecordSize, dot.ParseRecordSize, &w.settings.RecordSize),
		checkRange(req.RequiredBytes, req.LimitBytes),
	)
	if err != nil {
		return wish{}, err
	}
	if req.SourceSnapshot != "" && req.SourceVolume != "" {
		return wish{}, dot.Invalid("a volume is made from a snapshot or from a volume, not from both")
	}
	if req.SourceSnapshot != "" {
		h, err := dot.ParseSnapshotHandle(req.SourceSnapshot)
		if err != nil {
			return wish{}, dot.NotFound("snapshot %q does not exist: %w", req.SourceSnapshot, err)
		}
		w.snapshot = &h
	}
	if req.SourceVolume != "" {
		if w.sourceVolume, _, err = parseVolume(req.SourceVolume); err != nil {
			return wish{}, err
		}
	}
	if w.readOnly && !w.hasSource() {
		return wish{}, dot.Invalid("a read-only volume (ReadOnlyMany) must be restored from a snapshot or cloned from a volume")
	}
	return w, nil
}

func optional[T any](s string, parse func(string) (T, error), into *T) error {
	if s == "" {
		return nil
	}
	v, err := parse(s)
	if err == nil {
		*into = v
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// parseVolume reads a volume handle: static is set for one that names a dot. A
// handle that can name no volume names none that exists: CodeNotFound.
func parseVolume(handle string) (id dot.VolumeID, static *dot.DotSubdot, err error) {
	if handle == "" {
		return id, nil, dot.Invalid("the volume's id is missing")
	}
	h, err := dot.ParseVolumeHandle(handle)
	if err != nil {
		return id, nil, dot.NotFound("volume %q does not exist: %w", handle, err)
	}
	if h.Static != nil {
		return dot.VolumeIDOf(h.String()), h.Static, nil
	}
	return h.ID, nil, nil
}

func checkRange(required, limit int64) error {
	switch {
	case required < 0 || limit < 0:
		return dot.Invalid("a size cannot be negative")
	case limit > 0 && required > limit:
		return dot.Errorf(dot.CodeOutOfRange, "the size asked for, %d bytes, is above the limit asked for, %d bytes", required, limit)
	}
	return nil
}

// chooseSize gives a new volume's size. source is the size of what it is made
// from, 0 for unknown or none; total is the pool's.
func chooseSize(required, limit, source, total int64) (int64, error) {
	size := required
	if size == 0 {
		size = max(source, defaultSize)
		if limit > 0 && limit >= source {
			size = min(size, limit)
		}
	}
	switch {
	case size < source:
		return 0, dot.Errorf(dot.CodeOutOfRange, "the volume needs at least %d bytes, the size of what it is made from; asked for are %d", source, size)
	case limit > 0 && size > limit:
		return 0, dot.Errorf(dot.CodeOutOfRange, "the volume needs at least %d bytes, the size of what it is made from, and the limit asked for is %d", source, limit)
	case size > total:
		return 0, dot.Errorf(dot.CodeOutOfRange, "%d bytes are more than the whole pool has (%d)", size, total)
	}
	return size, nil
}

// target is the dot that a wish comes down to.
type target struct {
	name dot.FullName
	// join is the dot that exists under that name, nil for a new one.
	join *dot.Dot
}

// resolveTarget decides which dot a volume gets ("Who may use a dot"). lookup
// tells which dot has a name.
func resolveTarget(w wish, lookup func(dot.FullName) (*dot.Dot, error)) (target, error) {
	if !w.name.IsZero() {
		return resolveNamed(w, lookup)
	}
	own := w.pvcName
	if own == "" {
		own = w.csiName
	}
	t := target{name: dot.FullName{Namespace: w.namespace, Name: dot.NameFor(own)}}
	d, err := lookup(t.name)
	if err != nil || d == nil {
		return t, err
	}
	if !w.hasSource() && !d.MadeByPVC && d.Shares.Includes(w.kubeNamespace) {
		t.join = d
		return t, nil
	}
	uid := w.pvcUID
	if uid == "" {
		uid = w.csiName
	}
	t.name.Name = dot.QualifiedNameFor(w.kubeNamespace, own, uid)
	if d, err = lookup(t.name); err != nil || d == nil {
		return t, err
	}
	return target{}, dot.Precondition("dot %s exists already: name another dot in the annotation dotmeshName", t.name)
}

func resolveNamed(w wish, lookup func(dot.FullName) (*dot.Dot, error)) (target, error) {
	t := target{name: dot.FullName{Namespace: w.namespace, Name: w.name}}
	d, err := lookup(t.name)
	switch {
	case err != nil || d == nil:
		return t, err
	case w.hasSource():
		return target{}, dot.Precondition("dot %s exists already, and a restore or a clone makes a new dot: name another one in the annotation dotmeshName, or none", t.name)
	}
	t.join = d
	return t, d.MayUse(w.requester())
}

// checkPromises refuses a volume by which the root of a dot would hold less than
// what the quotas of its subdots promise. others are the other claims on the
// branch.
func checkPromises(d dot.FullName, subdot dot.Subdot, size int64, others []dot.Volume) error {
	largest := map[dot.Subdot]int64{subdot: size}
	for _, v := range others {
		largest[v.Subdot] = max(largest[v.Subdot], v.SizeBytes)
	}
	root := largest[dot.RootSubdot]
	if root == 0 {
		return nil
	}
	promised := int64(0)
	for s, bytes := range largest {
		if !s.IsRoot() {
			promised += bytes
		}
	}
	switch {
	case promised <= root:
		return nil
	case subdot.IsRoot():
		return dot.Precondition("a volume of %d bytes for the whole dot %s is smaller than what its subdots are promised, %d bytes: ask for at least that", size, d, promised)
	}
	return dot.Precondition("the subdots of dot %s would be promised %d bytes, more than the volume of its root (%s) has, %d: expand that one first", d, promised, dot.RootSubdot, root)
}
