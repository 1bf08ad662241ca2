package server

import (
	"os"
	"path/filepath"
	"strings"
)

// newerVersionFile is the operator's setting that tells of a version that can be had.
const newerVersionFile = "newerVersion"

// newerVersion reads it each time: Kubernetes changes a mounted ConfigMap as it likes.
func (s *Server) newerVersion() string {
	if s.cfg.SettingsDir == "" {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(s.cfg.SettingsDir, newerVersionFile))
	if err != nil {
		return "" // there is none
	}
	return strings.TrimSpace(string(text))
}
