package pool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
	"github.com/dotmesh-io/dotmesh-csi/pkg/zfs"
)

func config(t *testing.T) Config {
	t.Helper()
	name, err := zfs.ParsePoolName("tank")
	if err != nil {
		t.Fatal(err)
	}
	return Config{Name: name, Location: filepath.Join(t.TempDir(), "new"), SizeBytes: MinSize, Sparse: true}
}

func TestAllocateAndVet(t *testing.T) {
	cfg := config(t)
	file, err := cfg.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := marker{Pool: "tank", Size: MinSize}
	if got, err := cfg.vet(file); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	entries, err := os.ReadDir(cfg.Location)
	if err != nil || len(entries) != 1 || entries[0].Name() != "tank.pool" {
		t.Errorf("got %v, %v, want the pool file alone", entries, err)
	}
	again, err := cfg.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	larger := cfg
	larger.SizeBytes++
	if err := larger.extend(file, MinSize); err != nil {
		t.Fatal(err)
	}
	if info, err := file.Stat(); err != nil || info.Size() != MinSize+1 {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestCrashWhileAllocating(t *testing.T) {
	cfg := config(t)
	if err := os.MkdirAll(cfg.Location, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Location, ".tank.pool.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := cfg.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := cfg.vet(file); err != nil {
		t.Error(err)
	}
}

func TestVetRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"another's file": {file: "something else", want: "did not put there"},
		"empty file":     {file: "", want: "did not put there"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			file, err := cfg.allocate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := os.WriteFile(cfg.path(), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			before := beginning(t, cfg)
			_, err = cfg.vet(file)
			if dot.CodeOf(err) != dot.CodePrecondition || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if beginning(t, cfg) != before {
				t.Error("the file was changed")
			}
		})
	}
}

// TestAPoolFileDoesNotShrink: one that is larger than it is to be stays as it is.
func TestAPoolFileDoesNotShrink(t *testing.T) {
	cfg := config(t)
	file, err := cfg.allocate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	had := cfg.SizeBytes
	for _, c := range []struct{ configured, want int64 }{{had - 1, had}, {had, had}, {had + 1, had + 1}} {
		cfg.SizeBytes = c.configured
		if got, err := cfg.wanted(file); err != nil || got != c.want {
			t.Errorf("configured as %d: wants %d, %v, want %d", c.configured, got, err, c.want)
		}
		if _, err := cfg.vet(file); err != nil {
			t.Errorf("configured as %d: %v", c.configured, err)
		}
	}
}

// beginning is the pool file's size and first bytes.
func beginning(t *testing.T, cfg Config) string {
	t.Helper()
	file, err := os.Open(cfg.path())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 2*markerSize)
	n, _ := file.ReadAt(page, 0)
	return fmt.Sprint(info.Size()) + string(page[:n])
}

func TestNoFileButPool(t *testing.T) {
	cfg := config(t)
	if _, err := cfg.open(t.Context(), true); dot.CodeOf(err) != dot.CodePrecondition {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(cfg.Location); err == nil {
		t.Error("something was made")
	}
}

func TestConfigCheck(t *testing.T) {
	good := config(t)
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"no name":           func(c *Config) { c.Name = zfs.PoolName{} },
		"relative location": func(c *Config) { c.Location = "var" },
		"too small":         func(c *Config) { c.SizeBytes = MinSize - 1 },
	} {
		bad := good
		change(&bad)
		if err := bad.check(); dot.CodeOf(err) != dot.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzMarker(f *testing.F) {
	page, err := marker{Pool: "tank", Size: 5, Made: true}.page()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	f.Add([]byte(magic))
	f.Add([]byte(magic + "{}\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMarker(b)
		if !ok {
			return
		}
		page, err := m.page()
		if err != nil {
			return // longer than we write
		}
		if again, ok := parseMarker(page); !ok || again != m {
			t.Errorf("got %+v, %v, want %+v", again, ok, m)
		}
	})
}
