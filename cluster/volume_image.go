package cluster

import "strconv"

// VolumeImageMetadata is what a volume remembers of the image that it is made from, as Cinder's volume_image_metadata shows it.
func VolumeImageMetadata(i *Image) map[string]string {
	m := map[string]string{
		"image_id": string(i.ID), "image_name": i.Name, "disk_format": i.Format.Disk, "container_format": i.Format.Container,
		"min_disk": strconv.FormatInt(i.Format.MinDiskGiB, 10), "min_ram": strconv.FormatInt(i.Format.MinRAMMiB, 10),
		"signature_verified": "False",
	}
	if i.Data != nil {
		m["checksum"], m["size"] = i.Data.MD5, strconv.FormatInt(i.Data.Size, 10)
	}
	for k, v := range i.Properties {
		if _, own := m[k]; !own && len(m) < maxProperties && len(k) <= maxText {
			m[k] = v
		}
	}
	return m
}
