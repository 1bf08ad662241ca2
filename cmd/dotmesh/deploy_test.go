package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/config"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/etcd"
	"github.com/dotmesh-io/dotmesh-csi/pkg/operator/specs"
)

// rendered are the pods of the rendered manifests, by file and workload.
func rendered(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	files, err := filepath.Glob("../../deploy/rendered/dotmesh-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]corev1.PodSpec{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			var workload appsv1.Deployment // the other kinds have the same template
			if err := sigsyaml.Unmarshal(doc, &workload); err == nil && len(workload.Spec.Template.Spec.Containers) > 0 {
				all[filepath.Base(file)+" "+workload.Name] = workload.Spec.Template.Spec
			}
		}
	}
	return all
}

// made are the pods that the operator makes.
func made(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	settings, _, err := config.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	cluster := specs.Cluster{Namespace: "dotmesh", Etcd: []string{"https://etcd:2379"}}
	claim := specs.Claim{PVC: "p", VolumeMode: corev1.PersistentVolumeBlock, PoolName: "pool", Generation: 1, TakeOver: true}
	return map[string]corev1.PodSpec{
		"local server": specs.ServerPod(cluster, settings, specs.Server{Node: "n"}).Spec,
		"server":       specs.ServerPod(cluster, settings, specs.Server{Node: "n", Zone: "z", Claim: &claim}).Spec,
		"holder":       specs.HolderPod(cluster, specs.Holder{Node: "n", Claim: claim}).Spec,
		"node service": specs.NodeDaemonSet(cluster, settings).Spec.Template.Spec,
		"etcd":         etcd.Spec{Namespace: "dotmesh", Class: etcd.LocalClass}.StatefulSet().Spec.Template.Spec,
	}
}

// ours are the containers that run this program, by their pod.
func ours(pods ...map[string]corev1.PodSpec) iter.Seq2[string, corev1.Container] {
	return func(yield func(string, corev1.Container) bool) {
		for _, some := range pods {
			for pod, spec := range some {
				for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
					if len(c.Command) == 2 && c.Command[0] == "dotmesh" && !yield(pod, c) {
						return
					}
				}
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

// parsed is the role that a container runs, with its flags.
func parsed(t *testing.T, pod string, c corev1.Container) *cobra.Command {
	t.Helper()
	cmd := subcommand(t, c.Command[1])
	args := strings.Split(strings.ReplaceAll(strings.Join(c.Args, "\n"), "$(POOL_SIZE)", "10G"), "\n")
	if err := cmd.ParseFlags(args); err != nil {
		t.Errorf("%s: dotmesh %s: %v", pod, cmd.Name(), err)
	}
	return cmd
}

func TestPodsUseFlagsThatExist(t *testing.T) {
	roles := map[string]bool{}
	for pod, c := range ours(rendered(t), made(t)) {
		roles[parsed(t, pod, c).Name()] = true
	}
	want := []string{"controller", "etcd-join", "etcd-snapshot", "holder", "node", "operator", "server"}
	if got := slices.Sorted(maps.Keys(roles)); !slices.Equal(got, want) {
		t.Errorf("pods run %v, want %v", got, want)
	}
}

// Each process is told where the settings are, and finds them there: of the static
// deployment, which has none, only what it shares with the others.
func TestEveryProcessFollowsTheSettings(t *testing.T) {
	pods := made(t)
	for pod, spec := range rendered(t) {
		file, workload, _ := strings.Cut(pod, " ")
		isStatic := file == "dotmesh-static.yaml" || file == "dotmesh-lab.yaml"
		if !isStatic || workload == "dotmesh-controller" {
			pods[pod] = spec
		}
	}
	for pod, c := range ours(pods) {
		if f := parsed(t, pod, c).Flags().Lookup("settings-dir"); f == nil || f.Value.String() != specs.SettingsDir {
			t.Errorf("%s: dotmesh %s is not told where the settings are", pod, c.Command[1])
		}
		mounted := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == specs.SettingsDir && m.ReadOnly })
		if mounted < 0 || !slices.ContainsFunc(pods[pod].Volumes, func(v corev1.Volume) bool {
			return v.Name == c.VolumeMounts[mounted].Name && v.ConfigMap != nil && v.ConfigMap.Name == specs.SettingsName
		}) {
			t.Errorf("%s: dotmesh %s does not find the settings: %v", pod, c.Command[1], c.VolumeMounts)
		}
	}
}

// What everybody can reach, anybody can use up; kubelet's probes have a port of
// their own.
func TestProbesAskTheHealthPort(t *testing.T) {
	probed := 0
	for pod, c := range ours(rendered(t), made(t)) {
		for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			if p == nil {
				continue
			}
			probed++
			path := "/healthz"
			if name == "readiness" {
				path = "/readyz"
			}
			if p.HTTPGet == nil || p.HTTPGet.Port.StrVal != "health" || p.HTTPGet.Path != path {
				t.Errorf("%s: dotmesh %s: the %s probe does not ask the port health for %s: %v", pod, c.Command[1], name, path, p)
			}
		}
	}
	if probed < 30 {
		t.Errorf("only %d probes were found", probed)
	}
}

// A port of a pod is the one that its process listens on.
func TestPortsAreThoseListenedOn(t *testing.T) {
	flags := map[string]string{"api": "listen", "health": "health-listen", "metrics": "metrics-listen"}
	for pod, c := range ours(rendered(t), made(t)) {
		ports := map[string]string{}
		for _, p := range c.Ports {
			ports[p.Name] = ":" + strconv.Itoa(int(p.ContainerPort))
		}
		cmd := parsed(t, pod, c)
		for name, flag := range flags {
			listens := ""
			if f := cmd.Flags().Lookup(flag); f != nil {
				listens = f.Value.String()
			}
			if ports[name] != listens {
				t.Errorf("%s: dotmesh %s listens on %q, and the port %s is %q", pod, c.Command[1], listens, name, ports[name])
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
