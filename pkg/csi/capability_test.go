package csi

import (
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func mounted(mode csi.VolumeCapability_AccessMode_Mode, fs string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fs, MountFlags: flags}},
	}
}

func TestParseCapability(t *testing.T) {
	const writer = csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	block := mounted(writer, "")
	block.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	none := mounted(writer, "")
	none.AccessType = nil
	for name, c := range map[string]struct {
		in      *csi.VolumeCapability
		want    Mode
		refused string // part of the message
	}{
		"writer":        {in: mounted(writer, "")},
		"multi writer":  {in: mounted(csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER, "zfs")},
		"one pod":       {in: mounted(csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER, ""), want: Mode{OnePod: true}},
		"reader":        {in: mounted(csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY, ""), want: Mode{ReadOnly: true}},
		"many readers":  {in: mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, ""), want: Mode{ReadOnly: true, ManyNodes: true}},
		"flags":         {in: mounted(writer, "", "noexec", "nosuid"), want: Mode{Flags: []string{"noexec", "nosuid"}}},
		"many writers":  {in: mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, ""), refused: "use ReadWriteOnce"},
		"one of many":   {in: mounted(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER, ""), refused: "use ReadWriteOnce"},
		"unknown mode":  {in: mounted(csi.VolumeCapability_AccessMode_UNKNOWN, ""), refused: "use ReadWriteOnce"},
		"future mode":   {in: mounted(99, ""), refused: "use ReadWriteOnce"},
		"block":         {in: block, refused: "volumeMode Filesystem"},
		"no type":       {in: none, refused: "access type"},
		"nothing":       {refused: "missing"},
		"ext4":          {in: mounted(writer, "ext4"), refused: "leave csi.storage.k8s.io/fstype out"},
		"rw":            {in: mounted(writer, "", "rw"), refused: "use only noatime"},
		"ro":            {in: mounted(writer, "", "ro"), refused: "use only noatime"},
		"suid":          {in: mounted(writer, "", "suid"), refused: "not allowed"},
		"two in one":    {in: mounted(writer, "", "noexec,rw"), refused: "not allowed"},
		"another flag":  {in: mounted(writer, "", "zfsutil"), refused: "not allowed"},
		"loop in flags": {in: mounted(writer, "", "noexec", "remount"), refused: "remount"},
	} {
		got, err := ParseCapability(c.in)
		if c.refused != "" {
			if err == nil || dot.CodeOf(err) != dot.CodeInvalid || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: got %v, want a refusal with %q", name, err, c.refused)
			}
			continue
		}
		if err != nil || got.ReadOnly != c.want.ReadOnly || got.ManyNodes != c.want.ManyNodes || got.OnePod != c.want.OnePod || !slices.Equal(got.Flags, c.want.Flags) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}
