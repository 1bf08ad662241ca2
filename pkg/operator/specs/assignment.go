package specs

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Assignment is whose a PVC is, and was. It is kept in the PVC's annotations,
// which are changed by compare-and-set of the resourceVersion alone.
type Assignment struct {
	// Node is whom it is assigned to, "" when it is free.
	Node string
	// NodeUID tells that node from a later one of its name, "" while it is not known.
	NodeUID types.UID
	// Generation counts assignments; 0: it was never assigned.
	Generation uint64
	// Released is the last generation whose server exported the pool.
	Released uint64
	// Pool is the GUID of the pool on it, "" while not known.
	Pool string
	// PoolName is chosen with the first assignment and then stays.
	PoolName string
	// Freed is when it was taken from its last node, in whole seconds; zero while it
	// is assigned, or was never.
	Freed time.Time
	// Delete says that a person allows to delete the PVC once it is free.
	Delete bool
}

// IsFree tells whether it is assigned to no node.
func (a Assignment) IsFree() bool { return a.Node == "" }

// IsReleased tells whether the pool was exported by the last generation, or that
// there was none.
func (a Assignment) IsReleased() bool { return a.Released == a.Generation }

// NeedsTakeOver tells whether the generation before the present one ended without
// exporting the pool.
func (a Assignment) NeedsTakeOver() bool { return a.Released+1 < a.Generation }

// To is the assignment to a node: a generation of its own.
func (a Assignment) To(node string, uid types.UID, poolName string) Assignment {
	a.Node, a.NodeUID, a.Generation, a.Freed = node, uid, a.Generation+1, time.Time{}
	if a.PoolName == "" {
		a.PoolName = poolName
	}
	return a
}

// ReleasedNow says that the present generation's server exported the pool.
func (a Assignment) ReleasedNow() Assignment {
	a.Released = a.Generation
	return a
}

// FreedAt is the assignment to nobody.
func (a Assignment) FreedAt(now time.Time) Assignment {
	a.Node, a.NodeUID, a.Freed = "", "", now.UTC().Truncate(time.Second)
	return a
}

// OnNode says which of the nodes of its name it is assigned to.
func (a Assignment) OnNode(uid types.UID) Assignment {
	a.NodeUID = uid
	return a
}

// OnPool says which pool it holds.
func (a Assignment) OnPool(guid string) Assignment {
	a.Pool = guid
	return a
}

// ParseAssignment reads a PVC's annotations. Its error says what a person has to
// mend: nothing is done with such a PVC.
func ParseAssignment(annotations map[string]string) (Assignment, error) {
	a := Assignment{
		Node:     annotations[AnnotationNode],
		NodeUID:  types.UID(annotations[AnnotationNodeUID]),
		Pool:     annotations[AnnotationPool],
		PoolName: annotations[AnnotationPoolName],
		Delete:   annotations[AnnotationDelete] == True,
	}
	var err error
	if a.Generation, err = parseGeneration(annotations, AnnotationGeneration); err != nil {
		return Assignment{}, err
	}
	if a.Released, err = parseGeneration(annotations, AnnotationReleased); err != nil {
		return Assignment{}, err
	}
	if a.Freed, err = parseFreed(annotations); err != nil {
		return Assignment{}, err
	}
	switch {
	case a.Released > a.Generation:
		return Assignment{}, fmt.Errorf("annotation %s is %d, but %s is only %d: restore what was there before somebody changed them", AnnotationReleased, a.Released, AnnotationGeneration, a.Generation)
	case a.Node != "" && len(validation.IsDNS1123Subdomain(a.Node)) > 0:
		return Assignment{}, fmt.Errorf("annotation %s: %q is not a node's name", AnnotationNode, a.Node)
	case (a.Node != "" || a.Generation > 0) && (a.PoolName == "" || a.Generation == 0):
		return Assignment{}, fmt.Errorf("it was assigned to a node, but lacks annotation %s or %s: restore what was there before somebody changed them", AnnotationGeneration, AnnotationPoolName)
	}
	return a, nil
}

func parseGeneration(annotations map[string]string, key string) (uint64, error) {
	text, found := annotations[key]
	if !found {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("annotation %s: %q is not a number from 1 on", key, text)
	}
	return n, nil
}

func parseFreed(annotations map[string]string) (time.Time, error) {
	text, found := annotations[AnnotationFreed]
	if !found {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("annotation %s: %q is not a time such as 2006-01-02T15:04:05Z", AnnotationFreed, text)
	}
	return t.UTC(), nil
}

// Write is the annotations with a in them: those of an Assignment are set or
// removed, but for AnnotationDelete, which is a person's, and others stay.
func (a Assignment) Write(annotations map[string]string) map[string]string {
	written := maps.Clone(annotations)
	if written == nil {
		written = map[string]string{}
	}
	set := func(key, value string) {
		if value == "" {
			delete(written, key)
			return
		}
		written[key] = value
	}
	set(AnnotationNode, a.Node)
	set(AnnotationNodeUID, string(a.NodeUID))
	set(AnnotationGeneration, generationText(a.Generation))
	set(AnnotationReleased, generationText(a.Released))
	set(AnnotationPool, a.Pool)
	set(AnnotationPoolName, a.PoolName)
	set(AnnotationFreed, freedText(a.Freed))
	return written
}

func generationText(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func freedText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}
