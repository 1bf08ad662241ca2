package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// containers are those of the rendered manifests that run this program.
func containers(t *testing.T) []corev1.Container {
	t.Helper()
	text, err := os.ReadFile("../../deploy/rendered/dotmesh-static.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []corev1.Container
	for docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var workload struct {
			Spec struct {
				Template struct{ Spec corev1.PodSpec }
			}
		}
		if err := sigsyaml.Unmarshal(doc, &workload); err != nil {
			continue // another kind
		}
		for _, c := range workload.Spec.Template.Spec.Containers {
			if len(c.Command) == 2 && c.Command[0] == "dotmesh" {
				all = append(all, c)
			}
		}
	}
}

func subcommand(t *testing.T, name string) *cobra.Command {
	t.Helper()
	cmd, _, err := newCommand().Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestManifestsUseFlagsThatExist(t *testing.T) {
	found := containers(t)
	if len(found) != 3 {
		t.Fatalf("%d containers run dotmesh, want server, controller and node", len(found))
	}
	for _, c := range found {
		args := strings.Split(strings.ReplaceAll(strings.Join(c.Args, "\n"), "$(POOL_SIZE)", "10G"), "\n")
		if err := subcommand(t, c.Command[1]).ParseFlags(args); err != nil {
			t.Errorf("dotmesh %s: %v", c.Command[1], err)
		}
	}
}

// What everybody can reach, anybody can use up; kubelet's probes have a port of
// their own.
func TestProbesAskTheHealthPort(t *testing.T) {
	for _, c := range containers(t) {
		for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			if p != nil && (p.HTTPGet == nil || p.HTTPGet.Port.StrVal != "health") {
				t.Errorf("dotmesh %s: the %s probe does not ask the port health: %v", c.Command[1], name, p)
			}
		}
	}
}

func TestEveryFlagIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range newCommand().Commands() {
		_, section, found := strings.Cut(string(text), "\n## `dotmesh "+cmd.Name()+"`\n")
		if !found {
			t.Errorf("docs/configuration.md has no section on dotmesh %s", cmd.Name())
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(section, "`--"+f.Name+"`") {
				t.Errorf("docs/configuration.md does not tell of dotmesh %s --%s", cmd.Name(), f.Name)
			}
		})
	}
}
