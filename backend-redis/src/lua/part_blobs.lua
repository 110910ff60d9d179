-- Chunks of uploads and blobs that are nobody's: sweep has, for each, how many are still there.
local function give_up(id)
  if not read('uploads', 'ZSCORE', NS .. ':uploads', id) then return end
  local chunks = tonumber(read('chunks', 'HGET', NS .. ':chunks', id) or 0)
  zset('uploads', NS .. ':uploads', id, false)
  hash('chunks', NS .. ':chunks', id, false)
  if chunks > 0 then zset('swept blobs', NS .. ':sweep', id, chunks) end
end
