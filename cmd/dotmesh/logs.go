package main

import (
	"context"
	"flag"
	"io"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/dotmesh-io/dotmesh-csi/pkg/syslog"
)

// addSettingsFlag is of every role.
func addSettingsFlag(f *pflag.FlagSet, dir *string) {
	f.StringVar(dir, "settings-dir", "", `directory of the operator's settings, as the ConfigMap "dotmesh-settings" is mounted`)
}

// logged runs a role. What it logs goes to standard output, always, so that
// `kubectl logs` shows it while the log server is away, and to the log server that
// the settings name, if any.
func logged(ctx context.Context, role, settingsDir string, run func(context.Context) error) error {
	if err := logTo(os.Stdout); err != nil {
		return err
	}
	if settingsDir == "" {
		return run(ctx)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	sink := syslog.Start(syslog.Origin{Host: host, App: "dotmesh-" + role, Version: version(), PID: os.Getpid()}, settingsDir)
	defer sink.Close()
	klog.SetOutput(io.MultiWriter(os.Stdout, sink))
	defer klog.SetOutput(os.Stdout)
	err = run(ctx)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "the process ends")
	}
	return err
}

// logTo has klog write each entry to w, once.
func logTo(w io.Writer) error {
	all := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(all)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		if err := all.Set(name, value); err != nil {
			return err
		}
	}
	klog.SetOutput(w)
	return nil
}
