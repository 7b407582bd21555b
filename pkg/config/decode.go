package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDocument is the largest document in bytes. Kubernetes takes no object beyond 1.5 MiB either.
const maxDocument = 1 << 20

// The decoder walks the node tree itself because the libraries' strict modes stop at the first mistake or name a line
// without the path of the field, and a node tree still has both of two fields with one name.
type decoder struct{ *collector }

// parse turns YAML or JSON into a node tree: exactly one document, or a mistake.
func (d *decoder) parse(data []byte) *yaml.Node {
	const mend = "write one SyncGroup as YAML or JSON"
	if len(data) > maxDocument {
		d.add("", "", fmt.Sprintf("is larger than %d bytes", maxDocument), mend)
		return nil
	}
	// Trimmed by JSON's idea of space: the decoder must get through what was found valid.
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(data) {
		// YAML is not quite a superset: tabs and surrogate pairs are fine in JSON only.
		return jsonNode(data)
	}
	var documents []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.add("", "", "is not YAML or JSON: "+strings.TrimPrefix(err.Error(), "yaml: "), mend)
			return nil
		}
		if len(n.Content) == 1 && n.Content[0].Tag != "!!null" {
			documents = append(documents, n.Content[0])
		}
	}
	switch len(documents) {
	case 0:
		d.add("", "", "is empty", mend)
		return nil
	case 1:
		return documents[0]
	}
	d.mistakes = append(d.mistakes, Mistake{
		Line: documents[1].Line, Problem: fmt.Sprintf("holds %d documents", len(documents)), Mend: "put each SyncGroup into a file of its own",
	})
	return nil
}

// value decodes n into v, which has one of the types of document.go.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	if _, seen := d.lines[path]; !seen {
		d.lines[path] = n.Line
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.add(path, "", "uses a YAML anchor or alias", "write the value out")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem())
	case reflect.Struct:
		d.object(n, path, v)
	case reflect.Map:
		d.stringMap(n, path, v)
	case reflect.Slice:
		d.list(n, path, v)
	default:
		d.scalar(n, path, v)
	}
}

func (d *decoder) object(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(path, show(n), "is not an object", "write fields: "+strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		field, known := fieldByName(v, key.Value)
		if first, twice := seen[key.Value]; twice {
			d.mistakes = append(d.mistakes, Mistake{Path: at, Line: key.Line, Problem: "is there twice",
				Mend: fmt.Sprintf("remove one of the two (the other is in line %d)", first)})
			continue
		}
		seen[key.Value] = key.Line
		switch {
		case !known || key.Kind != yaml.ScalarNode:
			// The value is not repeated: an unknown field is where secrets end up.
			d.mistakes = append(d.mistakes, Mistake{Path: at, Line: key.Line, Problem: "is not a field",
				Mend: suggest(key.Value, fieldNames(v.Type()))})
		case isNull(val):
			// As in Kubernetes: a field without a value is a field left out.
		default:
			d.value(val, at, field)
		}
	}
}

func (d *decoder) stringMap(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(path, show(n), "is not an object", "write name: \"text\" pairs")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		at := path + "[" + key.Value + "]"
		if v.MapIndex(reflect.ValueOf(key.Value)).IsValid() {
			d.mistakes = append(d.mistakes, Mistake{Path: at, Line: key.Line, Problem: "is there twice", Mend: "remove one of the two"})
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(val, at, item)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	}
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.add(path, show(n), "is not a list", "write a list, one \"- \" per item")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := index(path, i)
		if isNull(item) {
			d.lines[at] = item.Line
			d.add(at, "", "is empty", "remove the item or fill it in")
			continue
		}
		d.value(item, at, v.Index(i))
	}
}

func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value) {
	tag := n.ShortTag()
	wrong := func(problem, mend string) { d.add(path, show(n), problem, mend) }
	switch v.Interface().(type) {
	case bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || tag != "!!bool" || err != nil {
			wrong("is not true or false", "write true or false, without quotes")
			return
		}
		v.SetBool(b)
	case int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || tag != "!!int" || err != nil {
			wrong("is not a whole number", "write a number such as 8, without quotes")
			return
		}
		v.SetInt(int64(i))
	case size:
		if n.Kind != yaml.ScalarNode || (tag != "!!str" && tag != "!!int" && tag != "!!float") {
			wrong("is not a size", "write a size such as 16MiB")
			return
		}
		v.SetString(n.Value)
	case duration:
		if n.Kind != yaml.ScalarNode || tag != "!!str" {
			wrong("is not a duration", "write a duration with its unit, such as 24h")
			return
		}
		v.SetString(n.Value)
	default:
		if n.Kind != yaml.ScalarNode || tag != "!!str" {
			mend := "write a text"
			if n.Kind == yaml.ScalarNode {
				mend = "put it in quotes: " + strconv.Quote(shorten(n.Value))
			}
			wrong("is not a text", mend)
			return
		}
		v.SetString(n.Value)
	}
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Anchor == ""
}

// show is a node as it appears in a message.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	default:
	}
	if n.ShortTag() == "!!str" {
		return quote(n.Value)
	}
	return shorten(n.Value)
}

func join(path, name string) string {
	if name == "" || strings.ContainsAny(name, ".[] \t\r\n\"") {
		name = strconv.Quote(name)
	}
	name = shorten(name)
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for f := range t.Fields() {
		names = append(names, fieldName(f))
	}
	return names
}

func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if fieldName(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// suggest is the mend of a name that is not known: the one that was probably meant, or all of them.
func suggest(name string, known []string) string {
	squeeze := func(s string) string {
		return strings.TrimSuffix(strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)), "s")
	}
	for _, similar := range []func(a, b string) bool{
		func(a, b string) bool { return a == b },
		func(a, b string) bool { return len(a) > 2 && strings.HasPrefix(b, a) },
		func(a, b string) bool { return len(b) > 2 && strings.HasPrefix(a, b) },
	} {
		if i := slices.IndexFunc(known, func(k string) bool { return similar(squeeze(name), squeeze(k)) }); i >= 0 {
			return "write " + known[i]
		}
	}
	return "use one of " + strings.Join(known, ", ")
}

// jsonNode is valid JSON as a node tree with line numbers.
func jsonNode(data []byte) *yaml.Node {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	line, counted := 1, 0
	next := func() (json.Token, *yaml.Node) {
		token, err := dec.Token()
		if err != nil {
			return nil, nil
		}
		end := int(dec.InputOffset())
		line += bytes.Count(data[counted:end], []byte("\n"))
		counted = end
		n := &yaml.Node{Kind: yaml.ScalarNode, Line: line}
		switch t := token.(type) {
		case string:
			n.Tag, n.Value = "!!str", t
		case json.Number:
			n.Tag, n.Value = "!!float", t.String()
			if _, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
				n.Tag = "!!int"
			}
		case bool:
			n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
		case nil:
			n.Tag, n.Value = "!!null", "null"
		}
		return token, n
	}
	// The open containers, innermost last. encoding/json bounds the depth, and data is valid JSON.
	var open []*yaml.Node
	for {
		token, n := next()
		if n == nil {
			return nil
		}
		delim, isDelim := token.(json.Delim)
		switch {
		case isDelim && (delim == '}' || delim == ']'):
			last := open[len(open)-1]
			if open = open[:len(open)-1]; len(open) == 0 {
				return last
			}
			continue
		case isDelim && delim == '{':
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		case isDelim:
			n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		}
		if len(open) > 0 {
			parent := open[len(open)-1]
			parent.Content = append(parent.Content, n)
		}
		if isDelim {
			open = append(open, n)
		}
	}
}
