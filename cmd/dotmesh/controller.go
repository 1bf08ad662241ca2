package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newControllerCommand() *cobra.Command {
	return &cobra.Command{Use: "controller", Hidden: true, RunE: func(*cobra.Command, []string) error {
		return errors.New("this build has no controller")
	}}
}
