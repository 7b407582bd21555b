//go:build race

package main

// raced says that the race detector is on: a seed takes ten times as long.
const raced = true
