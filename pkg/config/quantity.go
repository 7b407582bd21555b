package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40

	minPartSize, maxPartSize   = 5 * mib, 5 * gib // of S3 multipart uploads
	minBandwidth, maxBandwidth = kib, tib
	minEvery, maxEvery         = time.Minute, 720 * time.Hour

	minMaxSize, maxMaxSize   = kib, 64 * mib // every side of a merge is in memory
	minDeadline, maxDeadline = time.Second, 720 * time.Hour
	minWithin, maxWithin     = time.Minute, 168 * time.Hour
	maxHold                  = 10 * time.Minute
	minKeep, maxKeep         = time.Second, 8760 * time.Hour
)

// sizeText is stricter than humanize: lower-case m means "milli" in Kubernetes and mega elsewhere, so it is neither here.
var (
	sizeText     = regexp.MustCompile(sizePattern)
	durationText = regexp.MustCompile(durationPattern)
)

const (
	sizePattern     = `^[0-9]{1,15}(\.[0-9]{1,3})? ?(B|[kKMGT]i?B?)?$`
	durationPattern = `^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$`
)

// parseSize reads 16MiB, 16Mi (powers of 1024), 16MB, 16M (powers of 1000) and 16777216.
func parseSize(s size) (int64, error) {
	if !sizeText.MatchString(string(s)) {
		return 0, fmt.Errorf("is not a size")
	}
	n, err := humanize.ParseBytes(string(s))
	if err != nil || n > uint64(1)<<53 {
		return 0, fmt.Errorf("is not a size")
	}
	return int64(n), nil
}

// formatSize is the shortest exact form of n bytes.
func formatSize(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{tib, "TiB"}, {gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n != 0 && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprint(n)
}

// formatDuration is 24h instead of 24h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
