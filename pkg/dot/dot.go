package dot

import (
	"slices"
	"time"
)

// State says how far the making or unmaking of a thing has come. What is not
// Ready is finished, or undone, by the next try.
type State string

// The states of dots, branches and volumes.
const (
	Creating State = "creating"
	Ready    State = "ready"
	Deleting State = "deleting"
)

// Dot is a named volume with its branches.
type Dot struct {
	ID       ID
	FullName FullName
	State    State
	// MadeByPVC dots were made for a volume and go with their last one; others
	// were made by dm.
	MadeByPVC bool
	// Owner is the Kubernetes namespace of the PVC that made the dot; "" when dm
	// made it, or a CSI caller that told no namespace.
	Owner    string
	Shares   Shares
	Settings Settings
	// Subdots are the directories that volumes have claimed, living claims and
	// past ones.
	Subdots map[Subdot]SubdotRecord
	// Released dots have lost their last volume and were kept, because they hold
	// more than volumes put there.
	Released bool
	Created  time.Time

	Unknown Unknown `json:"-"`
}

// SubdotRecord is what a dot remembers of a directory.
type SubdotRecord struct {
	// ProjectID is the ZFS project that accounts for the directory; 0 for the
	// root, which needs none.
	ProjectID uint32
	// MadeByClaim: where the directory does not exist it is made for a claim, and
	// may go with the last one. Whether it was is written on the directory itself.
	MadeByClaim bool
}

// Settings are chosen when a dot is made and travel with its datasets.
type Settings struct {
	Compression Compression
	RecordSize  RecordSize
}

// Shares says which Kubernetes namespaces beside the owner may use a dot.
type Shares struct {
	All        bool
	Namespaces []string
}

// Includes tells whether a Kubernetes namespace was given the dot.
func (s Shares) Includes(kubeNamespace string) bool {
	return s.All || slices.Contains(s.Namespaces, kubeNamespace)
}

// firstProject leaves the low project ids to administrators, who may have
// projects of their own on the host.
const firstProject = 1 << 20

// AssignSubdot gives the record of a subdot, a new one with a project id that no
// other subdot of the dot has where there was none. It changes d.Subdots.
func (d *Dot) AssignSubdot(s Subdot, madeByClaim bool) SubdotRecord {
	if rec, ok := d.Subdots[s]; ok {
		return rec
	}
	rec := SubdotRecord{MadeByClaim: madeByClaim && !s.IsRoot()}
	if !s.IsRoot() {
		rec.ProjectID = firstProject
		for _, other := range d.Subdots {
			rec.ProjectID = max(rec.ProjectID, other.ProjectID+1)
		}
	}
	if d.Subdots == nil {
		d.Subdots = map[Subdot]SubdotRecord{}
	}
	d.Subdots[s] = rec
	return rec
}
