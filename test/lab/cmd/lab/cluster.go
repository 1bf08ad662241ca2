package main

func clusterCommands() []command { return nil }
