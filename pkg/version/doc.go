// Package version holds what the synchronizer knows about versions of an object: version vectors with one dot per
// write, a hybrid timestamp, and the identity of contents. Everything is a pure value; nothing here does I/O, returns
// errors or needs locking (values are not changed once they are shared).
package version
