package image

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/kilonova/kilonova/cluster"
	"github.com/kilonova/kilonova/httpapi/rest"
)

// download gives an image's bytes, or a range of them.
func (s *server) download(w http.ResponseWriter, r *http.Request) error {
	view, err := rest.View(r, s.Backend)
	if err != nil {
		return err
	}
	i, err := find(r, view)
	switch {
	case err != nil:
		return err
	case i.Status == cluster.ImageDeactivated && !rest.CallerFrom(r.Context()).Admin():
		return cluster.Errorf(cluster.Forbidden, "The requested image has been deactivated. Image data download is forbidden.")
	case i.Data == nil:
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	part, err := parseRange(r.Header.Get("Range"), i.Data.Size)
	if err != nil {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(i.Data.Size, 10))
		return err
	}
	content, err := s.Store.Open(r.Context(), i.Data)
	if err != nil {
		return err
	}
	h, status := w.Header(), http.StatusOK
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Md5", i.Data.MD5)
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	if part.asked {
		status = http.StatusPartialContent
		h.Set("Content-Range", part.header(i.Data.Size))
	}
	w.WriteHeader(status)
	if _, err := io.Copy(w, io.NewSectionReader(content, part.start, part.length)); err != nil {
		rest.Log(r).Warn("send an image", "image", i.ID, "err", err)
		panic(http.ErrAbortHandler) // the status is gone: a cut connection says that this is not the end
	}
	return nil
}

// span is a part of an image, in bytes.
type span struct {
	start, length int64
	asked         bool // false: it is the whole, because no range was asked for
}

func (p span) header(size int64) string {
	return "bytes " + strconv.FormatInt(p.start, 10) + "-" + strconv.FormatInt(p.start+p.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// parseRange reads a Range header (RFC 9110, section 14.2) with one range, as Glance does: 416 for everything else.
func parseRange(header string, size int64) (span, error) {
	if header == "" {
		return span{length: size}, nil
	}
	unsatisfiable := func(message string) (span, error) {
		return span{}, &rest.HTTPError{Status: http.StatusRequestedRangeNotSatisfiable, Code: cluster.Invalid, Message: message}
	}
	set, ok := strings.CutPrefix(strings.TrimSpace(header), "bytes=")
	if strings.Contains(set, ",") {
		return unsatisfiable("Requests with multiple ranges are not supported in Glance. Please make multiple single-range requests instead.")
	}
	first, last, dash := strings.Cut(set, "-")
	start, errFirst := strconv.ParseUint(first, 10, 63)
	end, errLast := strconv.ParseUint(last, 10, 63)
	switch {
	case !ok || !dash, first == "" && errLast != nil, first != "" && errFirst != nil, last != "" && errLast != nil:
		return unsatisfiable("Invalid Range header.")
	case first == "": // the last bytes
		n := min(int64(end), size)
		if n == 0 {
			return unsatisfiable("Invalid Range header.")
		}
		return span{start: size - n, length: n, asked: true}, nil
	case int64(start) >= size:
		return unsatisfiable("Invalid start position in Range header. Start position MUST be in the inclusive range [0, " +
			strconv.FormatInt(max(size-1, 0), 10) + "].")
	case last != "" && end < start:
		return unsatisfiable("Invalid Range header.")
	}
	if last == "" || int64(end) >= size {
		end = uint64(size - 1)
	}
	return span{start: int64(start), length: int64(end-start) + 1, asked: true}, nil
}
