package pool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

func TestFitting(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct{ size, allocated, free, want int64 }{
		"a new file":                     {0, 0, 1000 * mib, 976 * mib},
		"a multiple":                     {0, 0, 1040 * mib, 1024 * mib},
		"no room":                        {0, 0, 10 * mib, 0},
		"nothing has changed":            {976 * mib, 976 * mib, 24 * mib, 976 * mib},
		"the file system needed more":    {976 * mib, 976 * mib, 2 * mib, 976 * mib},
		"it has a little more":           {976 * mib, 976 * mib, 31 * mib, 976 * mib},
		"it has grown":                   {976 * mib, 976 * mib, 524 * mib, 1472 * mib},
		"a sparse file":                  {976 * mib, 100 * mib, 900 * mib, 976 * mib},
		"a sparse file, it has grown":    {976 * mib, 100 * mib, 1924 * mib, 2000 * mib},
		"others have filled it meantime": {976 * mib, 100 * mib, 0, 976 * mib},
	} {
		if got := fitting(c.size, c.allocated, c.free); got != c.want {
			t.Errorf("%s: got %d MiB, want %d", name, got/mib, c.want/mib)
		}
	}
}

func TestSizeThatFits(t *testing.T) {
	cfg := config(t)
	cfg.SizeBytes = 0
	file, err := cfg.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := cfg.size(file)
	if err != nil || size < MinSize || size%growStep != 0 {
		t.Errorf("got %d, %v", size, err)
	}
	if mark, ok, err := readMarker(file); err != nil || !ok || mark.Size != size {
		t.Errorf("got %+v, %t, %v, want size %d", mark, ok, err, size)
	}
}

// disk is a file that is taken for a device where only its content counts.
func disk(t *testing.T, content map[int64]string) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := file.Truncate(MinSize); err != nil {
		t.Fatal(err)
	}
	for at, text := range content {
		if _, err := file.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func TestEmptyDevice(t *testing.T) {
	const kib = 1 << 10
	for name, c := range map[string]struct {
		content map[int64]string
		empty   bool
	}{
		"nothing":                          {nil, true},
		"in the middle alone":              {map[int64]string{MinSize / 2: "x"}, true},
		"a partition table":                {map[int64]string{510: "\x55\xaa"}, false},
		"ext4":                             {map[int64]string{1080: "\x53\xef"}, false},
		"btrfs":                            {map[int64]string{64*kib + 64: "_BHRfS_M"}, false},
		"the first label of ZFS":           {map[int64]string{128 * kib: "\x0c\xb1\xba"}, false},
		"the second":                       {map[int64]string{384 * kib: "\x0c\xb1\xba"}, false},
		"the third":                        {map[int64]string{MinSize - 384*kib: "\x0c\xb1\xba"}, false},
		"the fourth":                       {map[int64]string{MinSize - 128*kib: "\x0c\xb1\xba"}, false},
		"RAID":                             {map[int64]string{MinSize - 64*kib: "\xfc\x4e\x2b\xa9"}, false},
		"the copy of a partition table":    {map[int64]string{MinSize - 512: "EFI PART"}, false},
		"the last byte":                    {map[int64]string{MinSize - 1: "x"}, false},
		"the last byte of the first MiB":   {map[int64]string{end - 1: "x"}, false},
		"the first byte of the last MiB":   {map[int64]string{MinSize - end: "x"}, false},
		"a marker of ours, without a pool": {map[int64]string{markerOffset: magic}, false},
	} {
		if got, err := isEmpty(disk(t, c.content), MinSize); err != nil || got != c.empty {
			t.Errorf("%s: got %t, %v, want %t", name, got, err, c.empty)
		}
	}
}

func TestAFileIsNoDevice(t *testing.T) {
	cfg := config(t)
	file := disk(t, nil)
	cfg.Location, cfg.SizeBytes, cfg.Device = "", 0, file.Name()
	if _, err := cfg.open(t.Context(), false); dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), "not a block device") {
		t.Errorf("got %v", err)
	}
	if _, ok, err := readMarker(file); ok || err != nil {
		t.Errorf("it was marked: %t, %v", ok, err)
	}
}

func aClaim(t *testing.T, last string) dot.ClaimID {
	t.Helper()
	id, err := dot.ParseClaimID("11111111-2222-4333-8444-55555555555" + last)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhoseAssignmentAPoolIs(t *testing.T) {
	mine, other := aClaim(t, "1"), aClaim(t, "2")
	two := Assignment{mine, 2}
	for name, c := range map[string]struct {
		me       Assignment
		mark     marker
		imported bool
		want     error
		takeOver bool
	}{
		"a new disk":                        {two, marker{}, false, nil, true},
		"an earlier one's":                  {two, marker{Assignment: Assignment{mine, 1}}, false, nil, true},
		"an earlier one's, released":        {two, marker{Assignment: Assignment{mine, 1}, Released: true}, false, nil, true},
		"ours":                              {two, marker{Assignment: two}, false, nil, false},
		"ours, released":                    {two, marker{Assignment: two, Released: true}, false, ErrReleased, false},
		"ours, released, imported by hand":  {two, marker{Assignment: two, Released: true}, true, nil, false},
		"a later one's":                     {two, marker{Assignment: Assignment{mine, 3}}, false, ErrGivenAway, true},
		"a later one's, released":           {two, marker{Assignment: Assignment{mine, 3}, Released: true}, false, ErrGivenAway, true},
		"a later one's, imported":           {two, marker{Assignment: Assignment{mine, 3}}, true, ErrGivenAway, true},
		"the disk had another claim before": {two, marker{Assignment: Assignment{other, 9}, Released: true}, false, nil, true},
		"a pool that stays":                 {Assignment{}, marker{}, false, nil, false},
	} {
		if err := c.me.vet(c.mark, c.imported); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if got := (Config{Assignment: c.me, TakeOver: true}).mayTakeOver(c.mark); got != c.takeOver {
			t.Errorf("%s: got %t, want %t for taking it over", name, got, c.takeOver)
		}
	}
}

func TestMarkReleased(t *testing.T) {
	mine := Assignment{aClaim(t, "1"), 2}
	was := marker{Pool: "tank", Size: MinSize, Made: true, Assignment: mine}
	page, err := was.page()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		me       Assignment
		released bool
		want     error
	}{
		"a pool that stays": {Assignment{}, false, nil},
		"ours":              {mine, true, nil},
		"a later one's":     {Assignment{mine.Claim, 1}, false, ErrGivenAway},
	} {
		file := disk(t, map[int64]string{markerOffset: string(page)})
		cfg := config(t)
		cfg.Assignment = c.me
		if err := cfg.markReleased(t.Context(), file); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		want := was
		want.Released = c.released
		if got, _, err := readMarker(file); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}
