package csi

import (
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// mountFlags may stand in a StorageClass's mountOptions. "rw" may not: as an
// option of a mount it overrides the dataset's readonly property, which is the
// fence, and whether a mount is read-only is decided elsewhere.
func mountFlags() []string {
	return []string{"noatime", "nodev", "nodiratime", "noexec", "nosuid", "relatime"}
}

// Mode is what a checked volume capability asks for.
type Mode struct {
	// ReadOnly: every use of the volume is read-only.
	ReadOnly bool
	// ManyNodes: it is to be used on several nodes at once.
	ManyNodes bool
	// OnePod: a second publication on the node is refused.
	OnePod bool
	// Flags are mount options, all on the allow-list.
	Flags []string
}

// ParseCapability refuses what a dot cannot do, and says what it can.
func ParseCapability(c *csi.VolumeCapability) (Mode, error) {
	switch {
	case c == nil:
		return Mode{}, dot.Invalid("the volume capability is missing")
	case c.GetBlock() != nil:
		return Mode{}, dot.Invalid("block volumes are not supported, because a dot is a ZFS file system: use volumeMode Filesystem")
	case c.GetMount() == nil:
		return Mode{}, dot.Invalid("the volume capability has no access type: a dot is mounted")
	}
	mode, err := parseAccessMode(c.GetAccessMode().GetMode())
	if err != nil {
		return Mode{}, err
	}
	if fs := c.GetMount().GetFsType(); fs != "" && fs != "zfs" {
		return Mode{}, dot.Invalid("file system type %q is not supported, because a dot is a ZFS file system: leave csi.storage.k8s.io/fstype out of the StorageClass", fs)
	}
	for _, flag := range c.GetMount().GetMountFlags() {
		if !slices.Contains(mountFlags(), flag) {
			return Mode{}, dot.Invalid("mount option %q is not allowed: use only %s", flag, strings.Join(mountFlags(), ", "))
		}
	}
	mode.Flags = c.GetMount().GetMountFlags()
	return mode, nil
}

func parseAccessMode(m csi.VolumeCapability_AccessMode_Mode) (Mode, error) {
	switch m {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		return Mode{}, nil
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER:
		return Mode{OnePod: true}, nil
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		return Mode{ReadOnly: true}, nil
	case csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:
		return Mode{ReadOnly: true, ManyNodes: true}, nil
	case csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:
		return Mode{}, dot.Invalid("ReadWriteMany is not supported, because a dot is written on one node at a time: use ReadWriteOnce; pods that share the dot then run on one node")
	}
	return Mode{}, dot.Invalid("the access mode %s is not supported: use ReadWriteOnce, ReadWriteOncePod or, for a volume made from a VolumeSnapshot or another PVC, ReadOnlyMany", m)
}
