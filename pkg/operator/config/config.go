package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/syslog"
)

// Config is what the ConfigMap says, or its defaults. It comes from Parse.
type Config struct {
	NodeSelector NodeSelector
	// UpgradesURL is none when nobody is to be asked for newer versions.
	UpgradesURL      UpgradesURL
	UpgradesInterval time.Duration
	LogAddress       syslog.Address
	KubeletDir       HostPath

	StorageMode StorageMode
	PoolName    PoolName
	Local       Local
	PVCPerNode  PVCPerNode

	// These three are passed on to the servers.
	Replicas      Replicas
	SyncInterval  time.Duration
	FailoverAfter time.Duration

	// Recover is leave to add pools to the registry that it does not know: servers
	// read it. It is for after a loss of etcd, until all servers are ready.
	Recover bool
}

// Local is what StorageMode LocalMode uses.
type Local struct {
	PoolSize     Size
	PoolLocation HostPath
}

// PVCPerNode is what StorageMode PVCPerNodeMode uses.
type PVCPerNode struct {
	PVSize       Size
	StorageClass StorageClass
	VolumeMode   corev1.PersistentVolumeMode
}

// Parse reads the ConfigMap's data. Its error is a *Refusal; the warnings hold
// either way. Space around a value is not part of it, because a ConfigMap made
// from files, or from a YAML block, ends each with a newline.
func Parse(data map[string]string) (Config, []Remark, error) {
	return parse(data, setting.isTaken)
}

// ParseKept is Parse where a configuration is in force: it also reads what may be in
// force since before it was refused, and which Change refuses to change to.
func ParseKept(data map[string]string) (Config, []Remark, error) {
	return parse(data, func(setting, *Config) error { return nil })
}

// Outdated tells of what holds only because it was in force before it was refused.
func (c Config) Outdated() []Remark {
	var all []Remark
	for _, s := range settings() {
		if err := s.isTaken(&c); err != nil {
			all = append(all, Remark{s.key, err.Error() + ". It holds on because it was in force before this was refused"})
		}
	}
	return all
}

func parse(data map[string]string, check func(setting, *Config) error) (Config, []Remark, error) {
	var c Config
	var problems []Remark
	for _, s := range settings() {
		value, given := data[s.key]
		if !given {
			value = s.fallback
		}
		err := s.set(&c, strings.TrimSpace(value))
		if err == nil {
			err = check(s, &c)
		}
		if err != nil {
			problems = append(problems, Remark{s.key, err.Error() + s.hintDefault()})
		}
	}
	var warnings []Remark
	for _, key := range slices.Sorted(maps.Keys(data)) {
		switch {
		case key == keyFlexvolumeDriverDir:
			warnings = append(warnings, flexvolumeWarning(c.KubeletDir))
		case !isKnown(key):
			problems = append(problems, unknown(key))
		}
	}
	if len(problems) > 0 {
		return Config{}, warnings, &Refusal{problems}
	}
	return c, warnings, nil
}

// Data is the configuration as a ConfigMap's data, with every key. Equal
// configurations have equal data.
func (c Config) Data() map[string]string {
	data := map[string]string{}
	for _, s := range settings() {
		data[s.key] = s.text(&c)
	}
	return data
}

// flexvolumeWarning answers a key that every ConfigMap of the flexvolume driver
// has, so that such a ConfigMap goes on to work.
func flexvolumeWarning(kubeletDir HostPath) Remark {
	now := ""
	if !kubeletDir.IsZero() {
		now = fmt.Sprintf(" (now %q)", kubeletDir)
	}
	return Remark{keyFlexvolumeDriverDir, fmt.Sprintf("does nothing any more: dotmesh is a CSI driver, which kubelet finds below %s%s. Remove this key, and set %s if kubelet's --root-dir is another directory on your nodes",
		keyKubeletDir, now, keyKubeletDir)}
}
