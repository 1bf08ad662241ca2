package arch_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dotmesh-io/dotmesh-csi/test/arch"
)

const (
	root   = "../.."
	module = "github.com/dotmesh-io/dotmesh-csi"
)

func TestRepository(t *testing.T) {
	tree, err := arch.Load(root, module)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 50 {
		t.Fatalf("only %d Go files found below %s", len(tree.Files), root)
	}
	for _, v := range checkAll(tree) {
		t.Error(v)
	}
}

func TestLinks(t *testing.T) {
	for _, rule := range arch.LinkRules {
		for _, v := range arch.CheckLinks(module, linked(t, rule.Package), rule) {
			t.Error(v)
		}
	}
}

// checkAll runs every rule that reads source.
func checkAll(tree *arch.Tree) []arch.Violation {
	var all []arch.Violation
	all = append(all, arch.CheckLayers(tree, arch.Layers)...)
	all = append(all, arch.CheckTestOnly(tree)...)
	all = append(all, arch.CheckRooms(tree, arch.Rooms)...)
	all = append(all, arch.CheckFoundation(tree, arch.Foundation)...)
	all = append(all, arch.CheckFence(tree, arch.FenceOnly)...)
	all = append(all, arch.CheckSizes(tree, arch.MaxFunction, arch.MaxFile)...)
	all = append(all, arch.CheckPackages(tree, arch.BadNames)...)
	all = append(all, arch.CheckInit(tree)...)
	all = append(all, arch.CheckExits(tree)...)
	all = append(all, arch.CheckCrashPoints(tree)...)
	return all
}

// linked lists what a package links, itself included.
func linked(t *testing.T, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{.ImportPath}}", pattern)
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pattern, err, stderr.String())
	}
	return strings.Fields(string(out))
}
