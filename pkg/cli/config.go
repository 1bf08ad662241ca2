package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dotmesh-io/dotmesh-csi/pkg/atomicfile"
	"github.com/dotmesh-io/dotmesh-csi/pkg/dot"
)

// configFormat tells this file from the one that dotmesh 0.x wrote in the same
// place, which has no such field.
const configFormat = "dotmesh.csi/1"

// config is the file of remotes. It holds API keys: mode 0600, never shown.
type config struct {
	Format  string            `json:"format"`
	Current string            `json:"current,omitempty"`
	Remotes map[string]remote `json:"remotes"`
}

// remote is a dotmesh cluster and who we are there. CA or Fingerprint says which
// server is believed to be it.
type remote struct {
	// Address is host:port.
	Address string `json:"address"`
	User    string `json:"user"`
	APIKey  string `json:"apiKey"`
	// CA holds PEM certificates.
	CA string `json:"ca,omitempty"`
	// Fingerprint pins the public key that the server, or its CA, must have.
	Fingerprint string `json:"fingerprint,omitempty"`
}

func loadConfig(path string) (config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return config{Format: configFormat, Remotes: map[string]remote{}}, nil
	}
	if err != nil {
		return config{}, fmt.Errorf("read dm's configuration: %w", err)
	}
	return parseConfig(path, data)
}

// parseConfig reads a file's content; its path is for errors.
func parseConfig(path string, data []byte) (config, error) {
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return config{}, dot.Invalid("dm's configuration %s is not valid JSON (%w): repair it, or move it away and add the remotes again", path, err)
	}
	if head.Format != configFormat {
		return config{}, dot.Invalid("dm's configuration %s was written by another version of dm (format %q, this one reads %q): move it away and add the remotes again", path, head.Format, configFormat)
	}
	var read config
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		return config{}, dot.Invalid("dm's configuration %s: %w: repair it, or move it away and add the remotes again", path, err)
	}
	if read.Remotes == nil {
		read.Remotes = map[string]remote{}
	}
	return read, nil
}

// save replaces the file in one step, so that a crash leaves the old one or the
// new one.
func (c config) save(path string) error {
	if err := c.replace(path); err != nil {
		return fmt.Errorf("write dm's configuration: %w", err)
	}
	return nil
}

func (c config) replace(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// lookup finds a remote; an empty name means the current one.
func (c config) lookup(name string) (string, remote, error) {
	if name == "" {
		name = c.Current
	}
	if name == "" {
		if len(c.Remotes) == 0 {
			return "", remote{}, dot.Precondition("no remote is known yet: run dm remote add NAME HOST --ca FILE")
		}
		return "", remote{}, dot.Precondition("no remote is selected: run dm remote switch NAME (known: %s)", c.names())
	}
	r, found := c.Remotes[name]
	if !found {
		if len(c.Remotes) == 0 {
			return "", remote{}, dot.NotFound("remote %q is not known: run dm remote add %s HOST --ca FILE", name, name)
		}
		return "", remote{}, dot.NotFound("remote %q is not known (known: %s): see dm remote list, or run dm remote add %s HOST --ca FILE", name, c.names(), name)
	}
	return name, r, nil
}

func (c config) names() string { return strings.Join(slices.Sorted(maps.Keys(c.Remotes)), ", ") }
