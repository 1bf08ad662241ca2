package pool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// TestNoRoom: a file that is to be larger than its file system takes nothing of it.
func TestNoRoom(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "pool"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := hasRoom(file, 1); err != nil {
		t.Errorf("a byte: %v", err)
	}
	const tooMuch = 1 << 60
	if err := hasRoom(file, tooMuch); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if err := (Config{SizeBytes: tooMuch}).extend(file, 0); dot.CodeOf(err) != dot.CodeExhausted {
		t.Errorf("got %v, want CodeExhausted", err)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 0 {
		t.Errorf("the file has %v, %v", info, err)
	}
}
