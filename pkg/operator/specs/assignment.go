package specs

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Machine tells a node from others of its name; what is "" is not known.
type Machine struct {
	// UID is the Node's: another one, unless the same machine has registered anew.
	UID types.UID
	// Boot is its kernel's, which ends with it.
	Boot string
	// System is the machine's UUID, which a boot does not change.
	System string
}

// Assignment is whose a PVC is, and was. It is kept in the PVC's annotations,
// which are changed by compare-and-set of the resourceVersion alone.
type Assignment struct {
	// Node is whom it is assigned to, "" when it is free.
	Node string
	// Machine is that node's.
	Machine Machine
	// Generation counts assignments; 0: it was never assigned.
	Generation uint64
	// Released is the last generation whose server exported the pool.
	Released uint64
	// GivenUp is a generation of which a person says that its node has no pool imported.
	GivenUp uint64
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

// IsGivenUp tells whether a person says that its node has no pool imported: nobody has to
// export it, and nobody has, so that the next node takes it over.
func (a Assignment) IsGivenUp() bool { return a.GivenUp > 0 && a.GivenUp == a.Generation }

// NeedsTakeOver tells whether the generation before the present one ended without
// exporting the pool.
func (a Assignment) NeedsTakeOver() bool { return a.Released+1 < a.Generation }

// To is the assignment to a node: a generation of its own.
func (a Assignment) To(node string, machine Machine, poolName string) Assignment {
	a.Node, a.Machine, a.Generation, a.Freed, a.GivenUp = node, machine, a.Generation+1, time.Time{}, 0
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

// Imported says that the present generation's server has the pool imported, whatever a
// person said.
func (a Assignment) Imported() Assignment {
	a.GivenUp = 0
	if a.IsReleased() {
		a.Released--
	}
	return a
}

// FreedAt is the assignment to nobody.
func (a Assignment) FreedAt(now time.Time) Assignment {
	a.Node, a.Machine, a.Freed, a.GivenUp = "", Machine{}, now.UTC().Truncate(time.Second), 0
	return a
}

// OnMachine says which of the nodes of its name it is assigned to.
func (a Assignment) OnMachine(m Machine) Assignment {
	a.Machine = m
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
		Node: annotations[AnnotationNode],
		Machine: Machine{
			UID: types.UID(annotations[AnnotationNodeUID]), Boot: annotations[AnnotationNodeBoot], System: annotations[AnnotationNodeSystem],
		},
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
	if a.GivenUp, err = parseGeneration(annotations, AnnotationGivenUp); err != nil {
		return Assignment{}, err
	}
	if a.Freed, err = parseFreed(annotations); err != nil {
		return Assignment{}, err
	}
	switch {
	case a.Released > a.Generation:
		return Assignment{}, fmt.Errorf("annotation %s is %d, but %s is only %d: restore what was there before somebody changed them", AnnotationReleased, a.Released, AnnotationGeneration, a.Generation)
	case a.GivenUp > a.Generation:
		return Assignment{}, fmt.Errorf("annotation %s is %d, but %s is only %d: remove it", AnnotationGivenUp, a.GivenUp, AnnotationGeneration, a.Generation)
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
	set(AnnotationNodeUID, string(a.Machine.UID))
	set(AnnotationNodeBoot, a.Machine.Boot)
	set(AnnotationNodeSystem, a.Machine.System)
	set(AnnotationGeneration, generationText(a.Generation))
	set(AnnotationReleased, generationText(a.Released))
	set(AnnotationGivenUp, generationText(a.GivenUp))
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
