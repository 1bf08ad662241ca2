package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSocketPath(t *testing.T) {
	for in, want := range map[string]string{
		"unix:///csi/csi.sock": "/csi/csi.sock", "/csi/csi.sock": "/csi/csi.sock", "unix:///a//b": "/a/b",
		"": "", "csi.sock": "", "unix://csi.sock": "", "tcp://1.2.3.4:5": "",
	} {
		got, err := socketPath(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestControllerConfig(t *testing.T) {
	set := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	var o controllerOptions
	o.addFlags(set)
	good := []string{"--server=dotmesh", "--secret-dir=/secret", "--without-kubernetes", "--fingerprint=" + strings.Repeat("ab", 32)}
	if err := set.Parse(good); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config()
	if err != nil || cfg.Socket != "/csi/csi.sock" || cfg.ClusterName != "dotmesh" || cfg.Validate() != nil {
		t.Errorf("got %+v, %v", cfg, err)
	}
	for name, c := range map[string]struct {
		change func(*controllerOptions)
		flag   string // that the error names
	}{
		"no server":        {func(o *controllerOptions) { o.server = "" }, "--server"},
		"no secret":        {func(o *controllerOptions) { o.secretDir = "" }, "--secret-dir"},
		"nobody to trust":  {func(o *controllerOptions) { o.fingerprint = "" }, "--ca or --fingerprint"},
		"no CA there":      {func(o *controllerOptions) { o.ca, o.fingerprint = "/does/not/exist", "" }, "--ca"},
		"CA and pin":       {func(o *controllerOptions) { o.ca = "/does/not/exist" }, "not both"},
		"bad endpoint":     {func(o *controllerOptions) { o.endpoint = "tcp://1.2.3.4:5" }, "--endpoint"},
		"no kubeconfig":    {func(o *controllerOptions) { o.withoutKubernetes, o.kubeconfig = false, "/does/not/exist" }, "--kubeconfig"},
		"bad pin of a key": {func(o *controllerOptions) { o.fingerprint = "abc" }, "--fingerprint"},
	} {
		bad := o
		c.change(&bad)
		if _, err := bad.config(); err == nil || !strings.Contains(err.Error(), c.flag) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.flag)
		}
	}
}
