package object

import "github.com/bucketmesh/bucketmesh/pkg/object/driver"

// Checked is d with the checks and the messages of Bucket, as a driver with the optional interfaces that d has: for code
// that asserts them, and must not send what the bucket can't hold.
func Checked(d driver.Bucket) driver.Bucket {
	b := New(d)
	m, _ := b.Multipart()
	v, _ := b.Versions()
	return compose(checked{b}, m, v)
}

type checked struct{ *Bucket }

// WithCapabilities implements Capable.
func (c checked) WithCapabilities(caps driver.Capabilities) driver.Bucket {
	return Checked(c.Bucket.WithCapabilities(caps))
}
