package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const kubeconfig = `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "https://kube"}}], contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: t}}]}`

func TestOperatorConfig(t *testing.T) {
	kube := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kube, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_NAME", "me")
	set := pflag.NewFlagSet("operator", pflag.ContinueOnError)
	var o operatorOptions
	o.addFlags(set)
	if err := set.Parse([]string{"--kubeconfig=" + kube, "--host=dots.example.com", "--host=192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config()
	if err != nil || cfg.Kubernetes.Host != "https://kube" || cfg.Namespace != "dotmesh" || cfg.PodName != "me" || len(cfg.Etcd) > 0 || cfg.EtcdImage == "" {
		t.Errorf("got %+v, %v", cfg, err)
	}
	if !slices.Equal(cfg.Names.DNS, []string{"dots.example.com"}) || len(cfg.Names.IPs) != 1 || cfg.Names.IPs[0].String() != "192.0.2.1" {
		t.Errorf("got names %+v", cfg.Names)
	}
	for endpoints, good := range map[string]bool{
		"https://etcd.example.com:2379":      true,
		"https://a:2379,https://[fd00::1]:1": true,
		"etcd.example.com:2379":              false,
		"etcd.example.com":                   false,
		"http://etcd.example.com:2379":       false, // neither side would know the other
		"https://a:2379,http://b:2379":       false,
		"https://":                           false,
		"https:///etcd":                      false,
		"https://a b:2379":                   false,
	} {
		o.etcd = strings.Split(endpoints, ",")
		cfg, err := o.config()
		if good && (err != nil || !slices.Equal(cfg.Etcd, o.etcd)) {
			t.Errorf("%s: got %v, %v", endpoints, cfg.Etcd, err)
		}
		if !good && (err == nil || !strings.Contains(err.Error(), "--etcd-endpoints")) {
			t.Errorf("%s: got %v, want a refusal that names the flag", endpoints, err)
		}
	}
	o.etcd, o.kubeconfig = nil, filepath.Join(t.TempDir(), "none")
	if _, err := o.config(); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
		t.Errorf("without a kubeconfig: got %v", err)
	}
}
