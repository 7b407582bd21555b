// Package walls holds the rules of the repository that no compiler knows: which package may import which, that packages
// explain themselves, that nothing happens by init or hidden state, that files stay readable, and that the links of the
// documents lead somewhere. It has tests only. Each exception is in a table here, with its reason.
package walls
