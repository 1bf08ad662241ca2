package server

import (
	"context"
)

// Server serves one pool.
type Server struct {
	cfg Config
}

// New checks the configuration; nothing is opened or changed before Run.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg}, nil
}

// Run serves until ctx ends or the server cannot go on.
func (s *Server) Run(ctx context.Context) error { return ctx.Err() }
