-- Takes snapshots and sets their user properties, each item by itself, all of
-- them in one transaction group. argv is, for each item: the snapshot's name,
-- the number of its properties, and that many pairs of name and value. The
-- answer is, for each item under its number: errno (0: taken now), and guid and
-- createtxg of the snapshot that has the name.
local argv = (...)["argv"]
local results = {}
local at, item = 1, 0
while argv[at] ~= nil do
    local name, count = argv[at], tonumber(argv[at + 1])
    at = at + 2
    item = item + 1
    local errno = zfs.sync.snapshot(name)
    if errno == 0 then
        for i = at, at + 2 * count - 2, 2 do
            errno = zfs.sync.set_prop(name, argv[i], argv[i + 1])
            if errno ~= 0 then
                zfs.sync.destroy(name)
                break
            end
        end
    end
    at = at + 2 * count
    local result = {errno = errno}
    if errno == 0 or errno == EEXIST then
        result.guid = zfs.get_prop(name, "guid")
        result.createtxg = zfs.get_prop(name, "createtxg")
    end
    results[item] = result
end
return results
