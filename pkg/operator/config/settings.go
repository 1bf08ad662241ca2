package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dotmesh-io/dotmesh-csi/pkg/syslog"
)

// The keys of the ConfigMap.
const (
	keyNodeSelector     = "nodeSelector"
	keyUpgradesURL      = "upgradesUrl"
	keyUpgradesInterval = "upgradesIntervalSeconds"
	keyLogAddress       = "logAddress"
	keyKubeletDir       = "kubeletDir"
	keyStorageMode      = "storageMode"
	keyPoolName         = "poolName"
	keyPoolSize         = "local.poolSizePerNode"
	keyPoolLocation     = "local.poolLocation"
	keyPVSize           = "pvcPerNode.pvSizePerNode"
	keyStorageClass     = "pvcPerNode.storageClass"
	keyVolumeMode       = "pvcPerNode.volumeMode"
	keyReplicas         = "replicas"
	keySyncInterval     = "syncInterval"
	keyFailoverAfter    = "failoverAfter"
	keyRecover          = "recover"

	// keyFlexvolumeDriverDir is read by nobody.
	keyFlexvolumeDriverDir = "flexvolumeDriverDir"
)

// setting is a key: what it is without a value, how it is read and written, and
// what changing it does.
type setting struct {
	key, fallback string
	place
	effect Effect
	// fixed keys cannot change while pools exist.
	fixed bool
	// size is nil but for sizes, which cannot shrink below what pools have reached.
	size    func(*Config) Size
	reached func(Pools) int64
	// path is nil but for directories that the pods have under their own names.
	path func(*Config) HostPath
}

// place reads and writes one field of a Config as text.
type place struct {
	set  func(*Config, string) error
	text func(*Config) string
}

// in is the place of a field, which parse and text read and write.
func in[T any](field func(*Config) *T, parse func(string) (T, error), text func(T) string) place {
	return place{
		set: func(c *Config, s string) error {
			v, err := parse(s)
			if err == nil {
				*field(c) = v
			}
			return err
		},
		text: func(c *Config) string { return text(*field(c)) },
	}
}

// settings are all keys but keyFlexvolumeDriverDir, in the order that problems and
// changes are told in.
func settings() []setting {
	poolSize := func(c *Config) *Size { return &c.Local.PoolSize }
	kubeletDir := func(c *Config) *HostPath { return &c.KubeletDir }
	poolLocation := func(c *Config) *HostPath { return &c.Local.PoolLocation }
	pvSize := func(c *Config) *Size { return &c.PVCPerNode.PVSize }
	return []setting{
		{key: keyNodeSelector, effect: AtOnce,
			place: in(func(c *Config) *NodeSelector { return &c.NodeSelector }, ParseNodeSelector, NodeSelector.String)},
		{key: keyUpgradesURL, effect: AtOnce,
			place: in(func(c *Config) *UpgradesURL { return &c.UpgradesURL }, ParseUpgradesURL, UpgradesURL.String)},
		{key: keyUpgradesInterval, fallback: "14400", effect: AtOnce,
			place: in(func(c *Config) *time.Duration { return &c.UpgradesInterval }, parseUpgradesInterval, wholeSeconds)},
		{key: keyLogAddress, effect: AtOnce,
			place: in(func(c *Config) *syslog.Address { return &c.LogAddress }, syslog.ParseAddress, syslog.Address.String)},
		{key: keyKubeletDir, fallback: "/var/lib/kubelet", effect: Rolling,
			place: in(kubeletDir, parseKubeletDir, HostPath.String),
			path:  func(c *Config) HostPath { return *kubeletDir(c) }},
		{key: keyStorageMode, fallback: "local", effect: Anew, fixed: true,
			place: in(func(c *Config) *StorageMode { return &c.StorageMode }, ParseStorageMode, StorageMode.String)},
		{key: keyPoolName, fallback: "pool", effect: Anew, fixed: true,
			place: in(func(c *Config) *PoolName { return &c.PoolName }, ParsePoolName, PoolName.String)},
		{key: keyPoolSize, fallback: "10G", effect: Grow,
			place: in(poolSize, parsePoolSize, Size.String),
			size:  func(c *Config) Size { return *poolSize(c) }, reached: func(p Pools) int64 { return p.Local }},
		{key: keyPoolLocation, fallback: "/var/lib/dotmesh", effect: Anew, fixed: true,
			place: in(poolLocation, ParseHostPath, HostPath.String),
			path:  func(c *Config) HostPath { return *poolLocation(c) }},
		{key: keyPVSize, fallback: "10G", effect: Grow,
			place: in(pvSize, parsePoolSize, Size.String),
			size:  func(c *Config) Size { return *pvSize(c) }, reached: func(p Pools) int64 { return p.PVC }},
		{key: keyStorageClass, fallback: "standard", effect: NewPVCs,
			place: in(func(c *Config) *StorageClass { return &c.PVCPerNode.StorageClass }, ParseStorageClass, StorageClass.String)},
		{key: keyVolumeMode, fallback: string(corev1.PersistentVolumeBlock), effect: NewPVCs,
			place: in(func(c *Config) *corev1.PersistentVolumeMode { return &c.PVCPerNode.VolumeMode }, parseVolumeMode, volumeModeText)},
		{key: keyReplicas, fallback: "2", effect: AtOnce,
			place: in(func(c *Config) *Replicas { return &c.Replicas }, ParseReplicas, Replicas.String)},
		{key: keySyncInterval, fallback: "60s", effect: AtOnce,
			place: in(func(c *Config) *time.Duration { return &c.SyncInterval }, parseSyncInterval, time.Duration.String)},
		{key: keyFailoverAfter, fallback: "180s", effect: AtOnce,
			place: in(func(c *Config) *time.Duration { return &c.FailoverAfter }, parseFailoverAfter, time.Duration.String)},
		{key: keyRecover, fallback: "false", effect: AtOnce,
			place: in(func(c *Config) *bool { return &c.Recover }, parseRecover, strconv.FormatBool)},
	}
}

// isTaken refuses a directory that the pods have something else in.
func (s setting) isTaken(c *Config) error {
	if s.path == nil {
		return nil
	}
	dir, taken := s.path(c).taken()
	if !taken {
		return nil
	}
	return refuse(s.path(c).String(), "a path that is not %s, nor in it, nor above it: dotmesh's pods have something else there", dir)
}

// hintDefault ends the sentence on a bad value.
func (s setting) hintDefault() string {
	if s.fallback == "" {
		return ""
	}
	return fmt.Sprintf("; without the key it is %q", s.fallback)
}

// knownKeys are all that Parse accepts.
func knownKeys() []string {
	keys := []string{keyFlexvolumeDriverDir}
	for _, s := range settings() {
		keys = append(keys, s.key)
	}
	return keys
}

func isKnown(key string) bool { return slices.Contains(knownKeys(), key) }
