package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newCertsCommand() *cobra.Command {
	return &cobra.Command{Use: "certs", Hidden: true, RunE: func(*cobra.Command, []string) error {
		return errors.New("this build has no certs")
	}}
}
