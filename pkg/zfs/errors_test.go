package zfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wantKinds has one line for each file of testdata/stderr, which is standard
// error of real commands.
var wantKinds = map[string]error{
	"bookmark-exists":           ErrExists,
	"bookmark-missing":          ErrNotFound,
	"clone-exists":              ErrExists,
	"clone-missing":             ErrNotFound,
	"create-over-exported":      ErrExists,
	"create-over-ext4":          ErrExists,
	"create-small":              ErrInvalidValue,
	"destroy-busy":              ErrBusy,
	"destroy-has-child-fs":      ErrHasChildren,
	"destroy-has-children":      ErrHasChildren,
	"destroy-held":              ErrBusy,
	"destroy-missing":           ErrNotFound,
	"destroy-missing-bookmark":  ErrNotFound,
	"destroy-missing-snap":      ErrNotFound,
	"destroy-snap-clones":       ErrHasClones,
	"export-busy":               ErrBusy,
	"fs-bad-name":               ErrInvalidName,
	"fs-bad-prop":               ErrInvalidValue,
	"fs-bad-value":              ErrInvalidValue,
	"fs-exists":                 ErrExists,
	"fs-no-parent":              ErrNotFound,
	"fs-no-pool":                ErrNoSuchPool,
	"fs-quota-too-small":        ErrNoSpace,
	"get-missing":               ErrNotFound,
	"get-missing-snap":          ErrNotFound,
	"hold-exists":               ErrExists,
	"import-exists":             ErrExists,
	"import-foreign":            ErrPoolForeign,
	"import-list-none":          ErrNoSuchPool,
	"import-missing":            ErrNoSuchPool,
	"import-missing-guid":       ErrNoSuchPool,
	"import-no-dev":             ErrNoSuchPool,
	"inherit-missing":           ErrNotFound,
	"module-missing":            ErrModuleMissing,
	"nospace-create":            ErrNoSpace,
	"nospace-snap":              ErrNoSpace,
	"online-missing":            ErrNotFound,
	"pool-device-in-use":        ErrBusy,
	"pool-exists":               ErrExists,
	"pool-missing":              ErrNoSuchPool,
	"pool-name-reserved":        ErrInvalidName,
	"poolget-missing":           ErrNoSuchPool,
	"prog-lua-error":            ErrNotFound,
	"prog-missing-pool":         ErrNoSuchPool,
	"prog-timeout":              ErrTooLarge,
	"promote-collision":         ErrExists,
	"promote-not-clone":         ErrNotClone,
	"recv-abort-none":           ErrNoResumeToken,
	"recv-corrupt":              ErrStreamInvalid,
	"recv-full-exists":          ErrStreamMismatch,
	"recv-garbage":              ErrStreamIncomplete,
	"recv-incomplete":           ErrStreamIncomplete,
	"recv-incomplete-resumable": ErrStreamIncomplete,
	"recv-modified":             ErrStreamMismatch,
	"recv-no-parent":            ErrNotFound,
	"recv-no-source":            ErrStreamMismatch,
	"recv-nospace":              ErrNoSpace,
	"recv-partial-state":        ErrBusy,
	"recv-quota":                ErrQuota,
	"release-missing":           ErrNotFound,
	"rename-exists":             ErrExists,
	"rename-missing":            ErrNotFound,
	"send-bad-order":            ErrStreamMismatch,
	"send-missing":              ErrNotFound,
	"send-token-corrupt":        ErrNoResumeToken,
	"set-long":                  ErrInvalidValue,
	"set-missing":               ErrNotFound,
	"set-pool-bad":              ErrInvalidValue,
	"set-quota-small":           ErrQuota,
	"set-ro-prop":               ErrInvalidValue,
	"snap-exists":               ErrExists,
	"status-exported":           ErrNotFound,
	"user-create":               ErrPermission,
	"user-list":                 ErrPermission,
}

func TestClassify(t *testing.T) {
	files, err := filepath.Glob("testdata/stderr/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured output: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		want, ok := wantKinds[name]
		if !ok {
			t.Errorf("%s has no expected kind", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := classify(string(text)); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if len(files) != len(wantKinds) {
		t.Errorf("%d captured, %d expected", len(files), len(wantKinds))
	}
}

func TestClassifyNamesDependents(t *testing.T) {
	for name, want := range map[string][]string{
		"destroy-has-children": {"capt/fs@s1"},
		"destroy-has-child-fs": {"capt/par/kid"},
		"destroy-snap-clones":  {"capt/cl"},
		"promote-collision":    {"s1"},
		"fs-exists":            nil,
	} {
		if got, _ := classify(captured(t, "stderr/"+name+".txt")); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestClassifyIsNotFooledByNames(t *testing.T) {
	_, kind := classify("cannot open 'capt/pool I/O is currently suspended': dataset does not exist")
	if !errors.Is(kind, ErrNotFound) {
		t.Errorf("got %v", kind)
	}
	if _, kind := classify("something new"); kind != nil {
		t.Errorf("got %v", kind)
	}
}

func TestCommandErrorIsShort(t *testing.T) {
	e := &CommandError{Args: []string{"zfs", "create", "-o", "io.x:m=" + strings.Repeat("m", 8000), "p/a"}, ExitCode: 1, Stderr: "cannot create 'p/a':\n  new failure\n"}
	if got, want := e.Error(), "zfs create … p/a: cannot create 'p/a': new failure"; !strings.HasSuffix(got, "cannot create 'p/a': new failure") || len(got) > 300 {
		t.Errorf("got %q, want %q", got, want)
	}
}
