package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newNodeCommand() *cobra.Command {
	return &cobra.Command{Use: "node", Hidden: true, RunE: func(*cobra.Command, []string) error {
		return errors.New("this build has no node")
	}}
}
