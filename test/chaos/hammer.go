package main

import "github.com/spf13/cobra"

func hammerCommand() *cobra.Command { return &cobra.Command{Use: "hammer"} }
