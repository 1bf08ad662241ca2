package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// Keys that the sidecars add (--extra-create-metadata).
const (
	sidecarPrefix        = "csi.storage.k8s.io/"
	keyPVCName           = sidecarPrefix + "pvc/name"
	keyPVCNamespace      = sidecarPrefix + "pvc/namespace"
	keySnapshotName      = sidecarPrefix + "volumesnapshot/name"
	keySnapshotNamespace = sidecarPrefix + "volumesnapshot/namespace"
	keySnapshotContent   = sidecarPrefix + "volumesnapshotcontent/name"
)

// Parameters of a StorageClass beside those of a choice.
const (
	keyCompression    = "compression"
	keyRecordSize     = "recordsize"
	keyCrossNamespace = "crossNamespace"
)

// classParameters are what CreateVolume was given as parameters.
type classParameters struct {
	choice
	Settings       dot.Settings
	CrossNamespace bool
	// PVCName and PVCNamespace are "" when the caller told of no PVC.
	PVCName, PVCNamespace string
}

// parseClassParameters refuses what it does not know: a misspelt parameter must
// not quietly mean its default.
func parseClassParameters(params map[string]string) (classParameters, error) {
	var p classParameters
	for _, key := range slices.Sorted(maps.Keys(params)) {
		value := params[key]
		known, err := p.set(key, value)
		if known && err == nil {
			continue
		}
		switch {
		case err != nil:
		case key == keyCompression:
			p.Settings.Compression, err = dot.ParseCompression(value)
		case key == keyRecordSize:
			p.Settings.RecordSize, err = dot.ParseRecordSize(value)
		case key == keyCrossNamespace:
			p.CrossNamespace, err = parseBool(value)
		case key == keyPVCName:
			p.PVCName = value
		case key == keyPVCNamespace:
			p.PVCNamespace = value
		case strings.HasPrefix(key, sidecarPrefix):
		default:
			return classParameters{}, dot.Invalid("StorageClass parameter %q is not known: use %s", key,
				quoted([]string{keyNamespace, keyName, keySubdot, keyBranch, keyCompression, keyRecordSize, keyCrossNamespace}))
		}
		if err != nil {
			return classParameters{}, in("StorageClass parameter", key, err)
		}
	}
	if (p.PVCName == "") != (p.PVCNamespace == "") {
		return classParameters{}, dot.Invalid("the parameters %q and %q come together or not at all", keyPVCName, keyPVCNamespace)
	}
	return p, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, dot.Invalid("%q is neither \"true\" nor \"false\"", s)
}

// snapshotParameters are what CreateSnapshot was given as parameters: the
// VolumeSnapshot's name and namespace and its content's name, each "" when the
// caller did not tell.
type snapshotParameters struct {
	Name, Namespace, Content string
}

func parseSnapshotParameters(params map[string]string) (snapshotParameters, error) {
	var p snapshotParameters
	for _, key := range slices.Sorted(maps.Keys(params)) {
		switch {
		case key == keySnapshotName:
			p.Name = params[key]
		case key == keySnapshotNamespace:
			p.Namespace = params[key]
		case key == keySnapshotContent:
			p.Content = params[key]
		case strings.HasPrefix(key, sidecarPrefix):
		default:
			return snapshotParameters{}, dot.Invalid("VolumeSnapshotClass parameter %q is not known: there are none", key)
		}
	}
	if (p.Name == "") != (p.Namespace == "") {
		return snapshotParameters{}, dot.Invalid("the parameters %q and %q come together or not at all", keySnapshotName, keySnapshotNamespace)
	}
	return p, nil
}

// metadata is what the commit remembers of its VolumeSnapshot.
func (p snapshotParameters) metadata() dot.Metadata {
	m := dot.Metadata{}
	for key, value := range map[string]string{
		"kubernetes.volumesnapshot":        p.Name,
		"kubernetes.namespace":             p.Namespace,
		"kubernetes.volumesnapshotcontent": p.Content,
	} {
		if value != "" {
			m[key] = value
		}
	}
	return m
}
