package azblob

import (
	"context"
	"slices"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// maxPage is Azure's own.
const maxPage = 5000

// List implements driver.Bucket. A listing is continued with the service's own marker, where it is remembered from the page
// before; else it starts from the key (startFrom). A server that doesn't know startFrom begins at the beginning, and what
// comes before the key is passed over, page by page.
//
// Azure calls its order alphabetical and doesn't say of what. Emulators order UTF-16 code units, which differs from the order
// of bytes where a character beyond U+FFFF meets one from U+E000 on. A listing that comes in another order than that of bytes is
// Unsupported, naming the keys: merging it with another one would take keys that are there for missing.
func (b *Bucket) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	if opts == nil {
		opts = &driver.ListOptions{}
	}
	if opts.After > opts.Prefix && !strings.HasPrefix(opts.After, opts.Prefix) {
		return &driver.Page{}, nil // every key with the prefix comes before
	}
	o := order{after: opts.After, last: opts.After}
	in := &container.ListBlobsFlatOptions{Prefix: opt(opts.Prefix)}
	if opts.Limit > 0 {
		in.MaxResults = new(int32(min(opts.Limit, maxPage)))
	}
	marker, known := b.marks.get(opts.Prefix, opts.After)
	if known {
		in.Marker = &marker
	} else if opts.After > opts.Prefix {
		in.StartFrom = &opts.After
	}
	o.continued = known
	for {
		out, err := b.page(ctx, in)
		if err != nil {
			return nil, err
		}
		page := &driver.Page{}
		for _, item := range out.Segment.BlobItems {
			keep, err := o.next(str(item.Name))
			if err != nil {
				return nil, err
			}
			// In an account with a hierarchical namespace, directories are listed as if they were blobs.
			if keep && item.Properties != nil && !strings.EqualFold(str(item.Properties.ResourceType), "directory") {
				page.Objects = append(page.Objects, attrs(item))
			}
		}
		next := str(out.NextMarker)
		switch {
		case next == "":
			return page, nil
		case len(page.Objects) > 0:
			page.Next = page.Objects[len(page.Objects)-1].Key
			b.marks.put(opts.Prefix, page.Next, next)
			return page, nil
		case in.Marker != nil && *in.Marker == next:
			return nil, errkind.New(errkind.Unavailable, "the server says that there is more, and gives nothing")
		}
		in.Marker, in.StartFrom = &next, nil
	}
}

// page is one request.
func (b *Bucket) page(ctx context.Context, in *container.ListBlobsFlatOptions) (container.ListBlobsFlatResponse, error) {
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := b.client.NewListBlobsFlatPager(in).NextPage(ctx)
	if err != nil {
		return out, fail(err)
	}
	if out.Segment == nil {
		out.Segment = &container.BlobFlatListSegment{}
	}
	return out, nil
}

func attrs(item *container.BlobItem) driver.Attrs {
	a := driver.Attrs{Key: str(item.Name), VersionID: str(item.VersionID)}
	if p := item.Properties; p != nil {
		a.Size, a.ETag, a.ModTime = or(p.ContentLength), tagOf(p.ETag), or(p.LastModified)
		a.Tag = a.ETag
	}
	return a
}

// order holds a listing to the order of bytes.
type order struct {
	after, last string
	continued   bool // by a marker: what comes now must be behind after
}

// next says whether key belongs to the page.
func (o *order) next(key string) (bool, error) {
	switch {
	case key == o.after && o.last == o.after:
		return false, nil // startFrom includes it
	case key < o.after && !o.continued && !behind(key, o.after):
		return false, nil // a server that doesn't know startFrom
	case key <= o.last:
		return false, errkind.New(errkind.Unsupported, "the server lists %q after %q, which is not the order of bytes; rename one of them", key, o.last)
	}
	o.last = key
	return true, nil
}

// behind tells whether a comes after b in the order of UTF-16.
func behind(a, b string) bool {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))) > 0
}

// marks remembers the service's own markers of the latest listings.
type marks struct {
	mu    sync.Mutex
	known map[mark]string
	order []mark
}

type mark struct{ prefix, after string }

const maxMarks = 64

func (m *marks) get(prefix, after string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marker, ok := m.known[mark{prefix, after}]
	return marker, ok
}

func (m *marks) put(prefix, after, marker string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[mark]string{}
	}
	at := mark{prefix, after}
	if _, ok := m.known[at]; !ok {
		if len(m.order) == maxMarks {
			delete(m.known, m.order[0])
			m.order = m.order[1:]
		}
		m.order = append(m.order, at)
	}
	m.known[at] = marker
}

// Versions implements driver.Versioner. Azure lists a key's versions by their ids, which are times, and no delete markers.
func (b *Bucket) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	in := &container.ListBlobsFlatOptions{Prefix: &key, Include: container.ListBlobsInclude{Versions: true}}
	var all []driver.Attrs
	for {
		out, err := b.page(ctx, in)
		if errkind.Is(err, errkind.Unsupported) && in.Include.Versions {
			in.Include.Versions = false // an account in a hierarchy, which has no versions
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, item := range out.Segment.BlobItems {
			if str(item.Name) != key { // the key itself is the first one that has it as a prefix
				return newestFirst(all), nil
			}
			a := attrs(item)
			a.IsLatest = or(item.IsCurrentVersion) || a.VersionID == ""
			all = append(all, a)
		}
		next := str(out.NextMarker)
		if next == "" {
			return newestFirst(all), nil
		}
		if in.Marker != nil && *in.Marker == next {
			return nil, errkind.New(errkind.Unavailable, "the server says that there are more versions, and not where")
		}
		in.Marker = &next
	}
}

func newestFirst(all []driver.Attrs) []driver.Attrs {
	slices.SortStableFunc(all, func(a, b driver.Attrs) int { return strings.Compare(b.VersionID, a.VersionID) })
	return all
}
